"""Passes side by side: whose state is kept apart, whose parameters are shared, and how many threads others have."""

import threading
import time

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from icebox.features.nn.backbone import spread
from icebox.features.nn.layer_outputs import LAST, Inputs, LayerOutputs
from icebox.features.nn.runtimes.streams import Streams


class Remembering(nn.Module):
    """Leaves its input in itself, waits, and uses it: another pass through the same object would change it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.input = x
        time.sleep(0.01)
        if torch.isnan(self.input).any():
            raise ValueError("not a number")
        return self.linear(self.input)


@pytest.fixture
def outputs() -> LayerOutputs:
    torch.manual_seed(0)
    return LayerOutputs(Remembering(), (LAST, "linear"))


def test_each_pass_has_the_outputs_of_its_own_inputs(outputs):
    batches = [torch.randn(2, 4) for _ in range(12)]
    with Streams(outputs, 4) as streams:
        waiting = [streams.begin(lambda batch=batch: Inputs((batch,))) for batch in batches]
        found = [wait() for wait in waiting]
    for batch, features in zip(batches, found, strict=True):
        for output, values in outputs(Inputs((batch,))).items():
            np.testing.assert_array_equal(features[output], values)


def test_a_batch_is_spread_over_all_streams(outputs):
    with Streams(outputs, 4) as streams:
        assert spread([range(8)], streams) == [range(2), range(2, 4), range(4, 6), range(6, 8)]
        assert spread([[5, 1], [3]], streams) == [[5], [1], [3]]
        assert spread([[0], [1], [2], [3, 4], [5]], streams) == [[0], [1], [2], [3, 4], [5]]
    assert spread([range(8)], None) == [range(8)]


def test_nothing_is_copied_before_the_first_pass(outputs, monkeypatch):
    copies = []
    replica = outputs.replica
    monkeypatch.setattr(outputs, "replica", lambda: copies.append(1) or replica())
    with Streams(outputs, 3) as streams:
        assert not copies
        for _ in range(2):
            streams.begin(lambda: Inputs((torch.ones(1, 4),)))()
    assert len(copies) == 3


def test_replicas_share_the_parameters(outputs):
    twin = outputs.replica().inference_network
    assert isinstance(twin, Remembering)
    assert twin is not outputs.inference_network
    assert twin.linear.weight is outputs.inference_network.linear.weight


def test_what_a_pass_raises_its_waiter_raises_and_others_go_on(outputs):
    with Streams(outputs, 2) as streams:
        bad = streams.begin(lambda: Inputs((torch.full((1, 4), torch.nan),)))
        good = streams.begin(lambda: Inputs((torch.ones(1, 4),)))
        assert good()[LAST].shape == (1, 3)
        with pytest.raises(ValueError, match="not a number"):
            bad()


def test_other_threads_keep_as_many_threads_as_they_had(outputs):
    before, later = torch.get_num_threads(), []
    with Streams(outputs, 3) as streams:
        inside = streams.begin(lambda: later.append(torch.get_num_threads()) or Inputs((torch.ones(1, 4),)))  # type: ignore[func-returns-value]
        inside()
        assert torch.get_num_threads() == before
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
    assert later == [1, before]
