from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from icebox.features.errors import IceboxError
from icebox.features.extraction import runtime
from icebox.features.extraction.extract import extract
from icebox.pipeline.catalog import runtimes
from icebox.pipeline.config.schema import Store
from icebox.pipeline.project import paths
from icebox.pipeline.stages.manifest import keep_shards
from tests import tiny


class Convertible(tiny.Doubling):
    """Can say that it runs by another runtime."""

    runtimes = ("inductor", "openvino", "onnxruntime")
    runtime = "torch"

    @property
    def spec(self):
        return super().spec | ({} if self.runtime == "torch" else {"runtime": self.runtime})

    def use_runtime(self, runtime):
        super().use_runtime(runtime)
        self.runtime = runtime


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch) -> Path:
    """A working folder where the trial always finds OpenVINO the fastest, and all runtimes are installed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runtime, "is_installed", lambda name: True)
    monkeypatch.setattr(runtime, "fastest", lambda *_, **__: ("openvino", "openvino is 2.00 times as fast"))
    return tmp_path


def config(**settings):
    return SimpleNamespace(stores={"s": Store(dataset="d", backbone="b", **settings)})


def chosen(backbone=None, **settings) -> str:
    backbone = backbone or Convertible()
    exact = Convertible
    runtimes.choose(config(**settings), "s", backbone, exact=exact, contents=lambda: ["1", "bad"], items=10)
    return backbone.runtime


def stored(by: str = "torch", *, cache: Path | None = None) -> None:
    backbone = Convertible()
    backbone.use_runtime(by)
    read = partial(str)
    extract(
        tiny.rows("1", "2"), read=read, backbone=backbone, cache_root=cache or paths.shards(), store=paths.store("s"),
        stored="float16",
    )  # fmt: skip


def test_auto_tries_once_and_keeps_to_it(monkeypatch, caplog):
    assert chosen() == "openvino"
    assert "s: runtime openvino (openvino is 2.00 times as fast)" in caplog.messages
    monkeypatch.setattr(runtime, "fastest", lambda *_, **__: pytest.fail("tried again"))
    assert chosen() == "openvino"


def test_a_name_is_taken_at_its_word():
    assert chosen(runtime="onnxruntime") == "onnxruntime"
    assert chosen(runtime="torch") == "torch"
    assert chosen() == "openvino"  # none of that is a record


@pytest.mark.parametrize("by", ["torch", "openvino", "onnxruntime"])
def test_a_store_goes_on_with_what_it_began_with(by):
    stored(by)
    assert chosen() == by
    for path in paths.store("s").iterdir():  # as DVC does before the stage runs
        path.unlink()
    assert chosen() == by


@pytest.mark.parametrize("by", ["torch", "openvino"])
def test_so_does_one_that_was_pulled_from_elsewhere(by, tmp_path, monkeypatch):
    stored(by, cache=tmp_path / "elsewhere")
    assert chosen() == by
    monkeypatch.setattr(runtimes, "ShardCache", lambda *_: SimpleNamespace(paths=list))
    keep_shards("s", dataset="d")
    for path in paths.store("s").iterdir():
        path.unlink()
    assert chosen() == by


def test_features_of_another_network_decide_nothing():
    stored("torch")
    assert chosen(Convertible(version=2)) == "openvino"


def test_a_runtime_that_is_missing_here_is_named_with_the_store_and_the_command(monkeypatch):
    stored("openvino")
    monkeypatch.setattr(runtime, "is_installed", lambda name: name != "openvino")
    with pytest.raises(
        IceboxError, match=r"^stores.s: its features .* openvino, which is not installed here; run: pip install '.+'$"
    ):
        chosen()


def test_nothing_is_recorded_where_nothing_was_tried(monkeypatch):
    monkeypatch.setattr(runtime, "fastest", lambda *_, **__: ("torch", ""))
    assert chosen() == "torch"
    assert not list(paths.PRECISIONS.glob("*"))
