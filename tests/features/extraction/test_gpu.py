"""On a GPU: the same bytes for any number of workers, and the processor's features within the stated tolerance."""

from pathlib import Path

import numpy as np
import pytest
import torch

from icebox.features import fingerprint
from icebox.features.backbones import torchvision
from icebox.features.extraction.consistency import TOLERANCE
from icebox.features.extraction.extract import extract
from icebox.features.manifest.manifest import ManifestRow
from icebox.features.store.feature_store import FeatureStore

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU"),
]


def picture(source: str) -> np.ndarray:
    return np.random.default_rng(int(source)).integers(0, 256, (80, 64, 3), dtype=np.uint8)


def rows(count: int) -> list[ManifestRow]:
    return [
        ManifestRow(item_id=str(i), item_key=fingerprint.of_content(picture(str(i))), label="", split="train", group="",
            source=str(i))
        for i in range(count)
    ]  # fmt: skip


def extracted(folder: Path, net: Path, *, device: str, precision: str = "float32", workers: int = 1) -> Path:
    network = torchvision.load(net, outputs=["last", "layer2:avg"], device=device, precision=precision, size=64)
    extract(rows(70), read=picture, backbone=network, cache_root=folder / "cache", store=folder / "store",
            batch_size=16, workers=workers, shard_rows=32)  # fmt: skip
    return folder / "store"


@pytest.fixture(scope="module")
def net(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("net")
    torchvision.fetch(folder, model="resnet18", weights="random")
    return folder


def test_a_store_made_on_a_gpu_is_the_same_bytes_for_any_number_of_workers(tmp_path, net):
    one, four = (extracted(tmp_path / str(n), net, device="cuda", workers=n) for n in (1, 4))
    assert {path.name: path.read_bytes() for path in one.iterdir()} == {
        path.name: path.read_bytes() for path in four.iterdir()
    }


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_features_of_a_gpu_are_the_processors_within_the_precisions_tolerance(tmp_path, net, precision):
    exact = FeatureStore(extracted(tmp_path / "cpu", net, device="cpu"))
    found = FeatureStore(extracted(tmp_path / "gpu", net, device="cuda", precision=precision))
    for output in exact.outputs:
        apart = np.linalg.norm(found.load(output=output) - exact.load(output=output), axis=1)
        assert (apart <= TOLERANCE[precision] * np.linalg.norm(exact.load(output=output), axis=1)).all()
