"""A store in int8 begins with a network that is calibrated once, and keeps it."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from icebox.features.abc import quantized_network
from icebox.features.abc.quantized_network import FILE, QuantizedNetwork
from icebox.features.errors import IceboxError
from icebox.features.extraction import quantization, runtime
from icebox.features.extraction.extract import extract
from icebox.pipeline.catalog import quantized
from icebox.pipeline.config.schema import Store
from icebox.pipeline.project import paths
from icebox.pipeline.stages.manifest import keep_shards
from tests import tiny

TRAIN = tiny.rows("1", "2", "3", "bad", "4")


class Rounding(tiny.Doubling):
    """Doubling, in int8 off by `error`, whose network holds the number of its calibration."""

    runtimes = ("openvino",)
    calibrations = 0

    def __init__(self, *, error: float = 0.01, version: int = 1) -> None:
        super().__init__(version=version)
        self.error, self.network = error, None

    @property
    def spec(self):
        in_int8 = {"precision": "int8", "runtime": "openvino", "quantized": self.network.digest} if self.network else {}
        return super().spec | in_int8

    def quantized(self, prepared):
        Rounding.calibrations += 1
        return QuantizedNetwork(str(Rounding.calibrations).encode(), b"", ("x",))

    def use_quantized(self, network):
        self.network = network

    def encode(self, prepared):
        features = super().encode(prepared)
        return {name: values * np.float32(1 + self.error * bool(self.network)) for name, values in features.items()}


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runtime, "is_importable", lambda package: True)
    monkeypatch.setattr(Rounding, "calibrations", 0)
    return tmp_path


def chosen(backbone: Rounding | None = None, *, rows=TRAIN, **settings) -> Rounding:
    backbone = backbone or Rounding()
    config = SimpleNamespace(stores={"s": Store(dataset="d", backbone="b", precision="int8", **settings)})
    quantized.choose(config, "s", backbone, rows, str)
    return backbone


def stored(backbone: Rounding) -> None:
    extract(
        tiny.rows("1", "2"), read=str, backbone=backbone, cache_root=paths.shards(), store=paths.store("s"),
        stored="float16",
    )  # fmt: skip


def empty(folder: Path) -> None:
    """Delete the outputs, which DVC does before a stage runs."""
    for path in folder.iterdir():
        path.unlink()


def test_it_is_calibrated_once_told_and_kept(caplog):
    first = chosen()
    (line,) = caplog.messages
    assert line == (
        "s: int8, calibrated on 2 items of train; of 2 others features are 1.00% of their norm apart from those in "
        "float32 on average, 1.00% at most"
    )
    empty(paths.store("s"))
    again = chosen(rows=tiny.rows("1", "2", "3", "4", "5", "6"))
    assert again.network.digest == first.network.digest
    assert Rounding.calibrations == 1
    assert caplog.messages == [line, line]
    assert quantized_network.read(paths.store("s") / FILE) == again.network


def test_another_network_or_another_dataset_has_its_own():
    assert chosen().network.digest != chosen(Rounding(version=2)).network.digest


def test_what_moves_features_by_more_than_the_tolerance_is_refused_when_kept_too():
    with pytest.raises(IceboxError, match=r"^stores.s: int8, .* 12.00% of their norm .* more than int8_tolerance: 0.1"):
        chosen(Rounding(error=0.12))
    chosen(Rounding(error=0.12), int8_tolerance=0.15)
    with pytest.raises(IceboxError, match=r"more than int8_tolerance: 0\.01"):
        chosen(Rounding(error=0.12), int8_tolerance=0.01)


def test_a_store_that_was_pulled_goes_on_with_its_own_network():
    stored(chosen())
    for path in paths.QUANTIZED.iterdir():
        path.unlink()
    own = quantized_network.read(paths.store("s") / FILE)
    keep_shards("s", dataset="d")
    empty(paths.store("s"))
    assert chosen().network == own
    assert Rounding.calibrations == 1


def test_a_store_without_its_network_says_so_rather_than_to_begin_anew():
    stored(chosen())
    for path in [*paths.QUANTIZED.iterdir(), paths.store("s") / FILE]:
        path.unlink()
    expected = r"data/stores/s/quantized.npz: not found, and only that int8 network .* restore it \(dvc checkout"
    with pytest.raises(IceboxError, match=f"^stores.s: {expected}"):
        chosen()
    with pytest.raises(IceboxError, match=f"^{expected}"):
        keep_shards("s", dataset="d")
    chosen(Rounding(version=2))  # whose features are not in it


def test_the_network_of_a_digest_is_found_in_the_store_or_where_it_was_kept():
    chosen()
    network = chosen().network
    assert quantized.find("s", network.digest) == network
    (paths.store("s") / FILE).unlink()
    assert quantized.find("s", network.digest) == network
    with pytest.raises(IceboxError, match=r"quantized.npz: not found"):
        quantized.find("s", replace(network, weights=b"other").digest)


def test_what_is_not_installed_is_named_with_the_command(monkeypatch):
    monkeypatch.setattr(runtime, "is_importable", lambda package: package != "nncf")
    with pytest.raises(IceboxError, match=r"^stores.s: precision: int8 needs nncf; run: pip install 'icebox\[int8\]'$"):
        chosen()


def test_in_parts_no_machine_calibrates_a_network_of_its_own():
    config = SimpleNamespace(stores={"s": Store(dataset="d", backbone="b", precision="int8")})
    with pytest.raises(IceboxError, match=r"^stores.s: precision: int8: each machine .* copy its data/stores/s/quanti"):
        quantized.choose(config, "s", Rounding(), TRAIN, str, by_calibration=False)
    network = chosen().network
    backbone = Rounding()
    quantized.choose(config, "s", backbone, TRAIN, str, by_calibration=False)
    assert backbone.network.digest == network.digest


def test_a_family_without_a_network_is_refused():
    with pytest.raises(IceboxError, match="precision: int8 is not for backbones of family 'doubling'"):
        quantization.calibrate(tiny.Doubling(), TRAIN, str, "identity", origin="")
