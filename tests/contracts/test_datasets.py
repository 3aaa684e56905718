"""Every file in features/datasets is tested as soon as it exists.

A new one needs a line in MAKERS where a keyword of its `Source` has no default or names files to be there.
"""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from icebox.features import plugins
from icebox.features.abc.dataset import Dataset, DenseDataset, Pair
from icebox.features.abc.targets import IGNORED, Mask
from icebox.features.images.dimensions import upright_size
from icebox.features.manifest.listing import list_items
from icebox.pipeline.config import plugin_schema

NAMES = plugins.names("icebox.features.datasets")


def source(name: str):
    return plugins.load("icebox.features.datasets", name).Source


def image_folder(folder: Path) -> Dataset:
    for i, label in enumerate(["cat", "dog", "cat", "dog"]):
        path = folder / label / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (9, 7), (40 * i, 0, 0)).save(path)
    return source("image_folder")(path=str(folder))


def csv_text(folder: Path) -> Dataset:
    (folder / "t.csv").write_text('text,label\n"one, two",a\nthree,b\n')
    return source("csv_text")(path=str(folder / "t.csv"), text="text", label="label")


def wikitext2(folder: Path) -> Dataset:
    for split in ("train", "valid", "test"):
        text = "".join(f" \n = {title} {split} = \n \n Some words . \n" for title in ("One", "Two"))
        (folder / f"wiki.{split}.tokens").write_text(text)
    return source("wikitext2")(path=str(folder))


def idx_files(name: str, folder: Path) -> Dataset:
    random = np.random.default_rng(0)
    for split in ("train", "t10k"):
        images, labels = random.integers(0, 256, (12, 28, 28), np.uint8), np.arange(12, dtype=np.uint8) % 10
        for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
            (folder / f"{split}-{kind}-ubyte").write_bytes(header + values.tobytes())
    return source(name)(path=str(folder))


def image_table(folder: Path) -> Dataset:
    image_folder(folder)
    (folder / "t.csv").write_text("path,label\ncat/0.png,a\ndog/1.png,b\n")
    return source("image_table")(path=str(folder / "t.csv"))


def image_masks(folder: Path) -> Dataset:
    for i, split in enumerate(["train", "train", "val", "test"]):
        for kind, content in (("images", [[40 * i, 0]]), ("masks", [[i % 2, 255]])):
            path = folder / kind / split / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.array(content, np.uint8)).save(path)
    return source("image_masks")(path=str(folder), classes=["sky", "pole"])


def image_boxes(folder: Path) -> Dataset:
    for i, split in enumerate(["train", "train", "val", "test"]):
        image, label = folder / f"images/{split}/{i}.png", folder / f"labels/{split}/{i}.txt"
        for path in (image, label):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 7), (40 * i, 0, 0)).save(image)
        label.write_text(f"{i % 2} 0.5 0.5 0.5 0.5\n")
    (folder / "data.yaml").write_text("names: [cat, dog]\n")
    return source("image_boxes")(path=str(folder))


def image_arrays(folder: Path) -> Dataset:
    np.savez(folder / "a.npz", images=np.zeros((3, 5, 4), np.uint8), labels=np.array(["a", "b", "a"]))
    return source("image_arrays")(path=str(folder / "a.npz"))


def webdataset(folder: Path) -> Dataset:
    with tarfile.open(folder / "a.tar", "w") as tar:
        for name, content in {"1.png": b"picture", "1.cls": b"0", "2.png": b"another", "2.cls": b"1"}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return source("webdataset")(path=str(folder))


def huggingface(folder: Path) -> Dataset:
    rows = {"first": ["a", "b"], "second": ["c", "d"], "label": [0, 1]}
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(rows).save_to_disk(folder / "saved")
    return source("huggingface")(path=str(folder / "saved"), first="first", second="second")


def features(folder: Path) -> Dataset:
    random = np.random.default_rng(0)
    np.savez(folder / "own.npz", X=random.normal(size=(12, 4)), y=np.arange(12) % 3)
    return source("features")(path=folder / "own.npz")


MAKERS: dict[str, Callable[[Path], Dataset]] = {
    "csv_text": csv_text,
    "docstrings": lambda folder: source("docstrings")(libraries=("joblib", "h5py")),
    "fashion_mnist": lambda folder: idx_files("fashion_mnist", folder),
    "features": features,
    "huggingface": huggingface,
    "image_arrays": image_arrays,
    "image_boxes": image_boxes,
    "image_folder": image_folder,
    "image_masks": image_masks,
    "image_table": image_table,
    "mnist": lambda folder: idx_files("mnist", folder),
    "webdataset": webdataset,
    "sequences": lambda folder: source("sequences")(number=20),
    "wikitext2": wikitext2,
}


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    made: dict[str, tuple[Dataset, list]] = {}

    def items(name: str):
        if name not in made:
            dataset = MAKERS[name](tmp_path_factory.mktemp(name)) if name in MAKERS else source(name)()
            made[name] = dataset, list(dataset.items())
        return made[name]

    return items


@pytest.mark.parametrize("name", NAMES)
def test_ids_are_unique_and_the_manifest_accepts_them(name, listed):
    dataset, items = listed(name)
    if isinstance(dataset, DenseDataset):
        list_items(items, dataset.task)
        assert {item.label for item in items} == {""}
        return
    list_items(items)
    assert len({item.label for item in items}) > 1


@pytest.mark.parametrize("name", NAMES)
def test_targets_have_the_size_of_their_pictures_and_known_classes(name, listed):
    dataset, items = listed(name)
    assert plugin_schema.constant(plugins.file("icebox.features.datasets", name), "TASK") == (
        dataset.task if isinstance(dataset, DenseDataset) else None
    )
    for item in items if isinstance(dataset, DenseDataset) else ():
        target = dataset.target(item.source)
        numbers = target.classes[target.classes != IGNORED] if isinstance(target, Mask) else target.labels
        assert set(numbers.tolist()) <= set(range(len(dataset.classes)))
        assert target.size == upright_size(dataset.read(item.source))
        assert target.digest == dataset.target(item.source).digest


@pytest.mark.parametrize("name", NAMES)
def test_parts_hold_the_items_in_their_order_and_differ_in_settings_or_files(name, listed):
    dataset, items = listed(name)
    parts = dataset.parts()
    if parts is not None:
        parts = list(parts)
        assert [item for part in parts for item in part.items()] == items
        assert len({json.dumps([part.settings, *map(str, part.paths)]) for part in parts}) == len(parts)


@pytest.mark.parametrize("name", NAMES)
def test_settings_that_determine_contents_are_json(name, listed):
    dataset, _ = listed(name)
    settings = dataset.content_settings()
    assert settings is None or json.loads(json.dumps(settings)) == settings


@pytest.mark.parametrize("name", NAMES)
def test_items_are_the_same_each_time(name, listed):
    dataset, items = listed(name)
    assert list(dataset.items()) == items


@pytest.mark.parametrize("name", NAMES)
def test_content_is_of_the_datasets_kind(name, listed):
    dataset, items = listed(name)
    for item in [*items[:3], items[-1]]:
        content = dataset.read(item.source)
        if dataset.modality == "text":
            assert isinstance(content, str)
        elif dataset.modality == "pair":
            assert isinstance(content, Pair)
        elif dataset.modality == "sequence":
            assert isinstance(content, np.ndarray)
            assert content.dtype == np.float32
            assert content.ndim == 2
        else:
            assert isinstance(content, bytes) or (isinstance(content, np.ndarray) and content.dtype == np.uint8)


PLACES = {  # the files that MAKERS leave, as a user would name them
    "csv_text": "t.csv",
    "huggingface": "saved",
    "image_arrays": "a.npz",
    "image_boxes": ".",
    "image_folder": ".",
    "image_masks": ".",
    "image_table": "t.csv",
    "webdataset": "a.tar",
}


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("labelled", [True, False])
def test_the_same_data_elsewhere_gives_the_same_items(name, labelled, tmp_path_factory):
    made = tmp_path_factory.mktemp(name)
    dataset = MAKERS[name](made)
    items = list(dataset.items())
    moved = made.rename(made.with_name(f"{made.name}_elsewhere"))
    other = dataset.elsewhere(moved / PLACES[name], labelled=labelled)
    assert other is not None
    further = list(other.items())
    assert [item.label for item in further] == [item.label if labelled else "" for item in items]
    assert [item.item_id for item in further] == [item.item_id for item in items]
    if isinstance(other, DenseDataset) and labelled:
        assert [other.target(item.source).digest for item in further]
    assert [np.asarray(other.read(item.source)).tobytes() for item in further]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_of_another_kind_is_no_data_of_the_dataset(name, listed, tmp_path):
    dataset, _ = listed(name)
    (tmp_path / "x.unknown").write_text("x")
    assert dataset.elsewhere(tmp_path / "x.unknown", labelled=False) is None
