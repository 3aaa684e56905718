import json
import time

import numpy as np
import pytest

from icebox.features.errors import IceboxError
from icebox.features.extraction import runtime
from tests.tiny import Doubling

BATCH = [1.0, 2.0]
MANY = 10**6


class Timed(Doubling):
    """Takes 10 ms a batch by torch, else what `seconds` says of its runtime, and is then off by `error`."""

    runtimes = ("inductor", "openvino", "onnxruntime")

    def __init__(self, *, error: float = 0.0, failure: str = "", **seconds: float) -> None:
        super().__init__()
        self.seconds, self.error, self.failure = (
            {"torch": 0.01, "openvino": 0.01, "onnxruntime": 0.01} | seconds,
            error,
            failure,
        )
        self.runtime = "torch"

    @property
    def spec(self):
        return super().spec | ({} if self.runtime == "torch" else {"runtime": self.runtime})

    def use_runtime(self, runtime):
        super().use_runtime(runtime)
        self.runtime = runtime

    def encode(self, prepared):
        if self.runtime != "torch" and self.failure:
            raise IceboxError(self.failure)
        time.sleep(self.seconds[self.runtime])
        sign = np.float32(1 - self.error * (self.runtime != "torch"))
        return {"last": super().encode(prepared)["last"] * [1, sign]}


@pytest.fixture(autouse=True)
def both_installed(monkeypatch):
    monkeypatch.setattr(runtime, "is_installed", lambda name: True)


def chosen(backbone: Timed, *, items: int = MANY) -> tuple[str, str]:
    choice = runtime.fastest(backbone, BATCH, items=items, exact=lambda: Timed().encode(BATCH))
    assert backbone.runtime == "torch"
    return choice


def test_the_fastest_that_agrees_is_taken_and_the_reason_told():
    name, reason = chosen(Timed(openvino=0.002, onnxruntime=0.005))
    assert name == "openvino"
    assert "openvino is " in reason
    assert "onnxruntime is " in reason
    assert chosen(Timed(openvino=0.005, onnxruntime=0.002))[0] == "onnxruntime"


def test_torch_stays_where_no_other_is_clearly_faster():
    assert chosen(Timed(openvino=0.0095))[0] == "torch"


def test_torch_stays_where_features_would_change():
    name, reason = chosen(Timed(openvino=0.001, onnxruntime=0.001, error=0.5))
    assert name == "torch"
    assert "openvino changes features" in reason


def test_torch_stays_where_a_network_can_not_be_converted():
    assert chosen(Timed(openvino=0.001, failure="can't take this network")) == (
        "torch",
        "can't take this network; can't take this network",
    )


@pytest.mark.parametrize("items", [0, 10])
def test_nothing_is_tried_for_a_few_items(items):
    assert chosen(Timed(openvino=0.001), items=items) == ("torch", "")


def test_nothing_is_tried_that_is_not_installed_or_that_the_family_has_not(monkeypatch):
    class Floor(Timed):
        runtimes = ()

    assert chosen(Floor(openvino=0.001)) == ("torch", "")
    monkeypatch.setattr(runtime, "is_installed", lambda name: name == "onnxruntime")
    assert chosen(Timed(openvino=0.0001, onnxruntime=0.002))[0] == "onnxruntime"
    monkeypatch.setattr(runtime, "is_installed", lambda name: False)
    assert chosen(Timed(openvino=0.001)) == ("torch", "")


def test_a_runtime_that_is_missing_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setitem(runtime.PACKAGES, "openvino", ("no_such_package",))
    with pytest.raises(IceboxError, match=r"openvino.*not installed here; run: pip install 'icebox\[openvino\]'$"):
        runtime.refuse_missing("openvino")
    runtime.refuse_missing("torch")
    runtime.refuse_missing("inductor")


def test_a_family_without_a_network_takes_no_runtime():
    with pytest.raises(IceboxError, match="openvino is not for backbones of family 'doubling'"):
        Doubling().use_runtime("openvino")
    Doubling().use_runtime("torch")


def test_the_record_is_one_for_a_network_and_a_dataset_whatever_runtime_basis_and_format(tmp_path):
    spec = Doubling().spec
    assert runtime.recorded(spec, "digits", tmp_path) is None
    runtime.record(
        {**spec, "runtime": "openvino", "stored": "float16", "projection": "abc"}, "digits", "openvino", tmp_path
    )
    assert runtime.recorded(spec, "digits", tmp_path) == "openvino"
    assert runtime.recorded(spec, "others", tmp_path) is None
    assert runtime.recorded({**spec, "precision": "bfloat16"}, "digits", tmp_path) is None
    next(tmp_path.iterdir()).write_text(json.dumps({"runtime": "abacus"}))
    with pytest.raises(IceboxError, match="record of `runtime: auto` is damaged"):
        runtime.recorded(spec, "digits", tmp_path)


def test_torchs_own_spec_names_no_runtime():
    assert runtime.of_spec({}) == "torch"
    first, *others = runtime.in_every_runtime({"family": "tiny", "runtime": "openvino"})
    assert first == {"family": "tiny"}
    assert [spec["runtime"] for spec in others] == ["inductor", "openvino", "onnxruntime"]
