import shutil
import time

import numpy as np
import pytest
import torch
from torch import nn

from icebox.features.extraction.compilation import compile_if_faster, may_pay
from icebox.features.nn.layer_outputs import Inputs, LayerOutputs
from tests.tiny import Doubling


class Slow(Doubling):
    """Takes 20 ms a batch, or `compiled_s` once compiled, and is then off by `error`."""

    def __init__(self, *, compiled_s: float = 0.0, error: float = 0.0, failure: Exception | None = None) -> None:
        super().__init__()
        self.compiled_s, self.error, self.failure = compiled_s, error, failure
        self.compiled = False

    def compile(self, batch_size):
        self.compiled = batch_size is not None
        return self.compiled

    def encode(self, prepared):
        if self.compiled and self.failure:
            raise self.failure
        time.sleep(self.compiled_s if self.compiled else 0.02)
        sign = np.float32(1 - self.error * self.compiled)
        return {name: values * [1, sign] for name, values in super().encode(prepared).items() if name == "last"}


BATCH = [1.0, 2.0]


def test_it_compiles_where_the_saving_is_worth_the_cost():
    backbone = Slow()
    assert compile_if_faster(backbone, BATCH, items_left=10**6, wanted="auto", was_compiled=False)
    assert backbone.compiled


def test_compiling_can_not_pay_for_a_few_items():
    assert not may_pay(Slow(), BATCH, items_left=100)
    assert may_pay(Slow(), BATCH, items_left=10**6)


def test_a_store_that_began_compiled_goes_on_so_and_off_is_off():
    assert compile_if_faster(Slow(), BATCH, items_left=2, wanted="auto", was_compiled=True)
    assert compile_if_faster(Slow(), BATCH, items_left=2, wanted="on", was_compiled=False)
    assert not compile_if_faster(Slow(), BATCH, items_left=10**6, wanted="off", was_compiled=True)


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (Slow(compiled_s=0.03), "dropped: it would be 0."),
        (Slow(error=1.0), "cosine"),
        (Slow(failure=RuntimeError("no C++ compiler\nlong page")), "failed, going on without: no C++ compiler"),
    ],
    ids=["slower", "not close", "failing"],
)
def test_a_compiled_network_that_is_no_better_is_dropped_with_one_line(backbone, message, caplog):
    assert not compile_if_faster(backbone, BATCH, items_left=10**6, wanted="auto", was_compiled=False)
    assert not backbone.compiled
    [warning] = caplog.messages
    assert message in warning
    assert "\n" not in warning


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")  # torch's own, while it compiles
@pytest.mark.slow
def test_a_compiled_network_gives_the_same_features_of_inner_layers_too_and_for_a_short_batch():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3), nn.ReLU())
    layer_outputs = LayerOutputs(network, ["1:max", "2:grid-2", "3:flatten"])
    x = torch.randn(4, 3, 6, 6).contiguous(memory_format=torch.channels_last)
    plain = layer_outputs(Inputs((x,)))
    assert layer_outputs.compile(4)
    for items in (4, 1):
        for output, values in layer_outputs(Inputs((x[:items],))).items():
            np.testing.assert_allclose(values, plain[output][:items], atol=1e-5)
    assert not layer_outputs.compile(None)
    for output, values in layer_outputs(Inputs((x,))).items():
        np.testing.assert_array_equal(values, plain[output])
