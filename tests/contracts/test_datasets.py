"""Every file in features/datasets is tested at birth: one with required parameters needs a line in MAKERS."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from features import manifest, plugins
from features.datasets.base import Dataset

NAMES = plugins.names("features.datasets")


def source(name: str):
    return plugins.load("features.datasets", name).Source


def image_folder(folder: Path) -> Dataset:
    for i, label in enumerate(["cat", "dog", "cat", "dog"]):
        path = folder / label / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (9, 7), (40 * i, 0, 0)).save(path)
    return source("image_folder")(path=str(folder))


def csv_text(folder: Path) -> Dataset:
    (folder / "t.csv").write_text('text,label\n"one, two",a\nthree,b\n')
    return source("csv_text")(path=str(folder / "t.csv"), text="text", label="label")


MAKERS: dict[str, Callable[[Path], Dataset]] = {
    "csv_text": csv_text,
    "digits": lambda folder: source("digits")(),
    "docstrings": lambda folder: source("docstrings")(libraries=("joblib", "h5py")),
    "image_folder": image_folder,
}


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    made: dict[str, tuple[Dataset, list]] = {}

    def items(name: str):
        if name not in made:
            dataset = MAKERS[name](tmp_path_factory.mktemp(name))
            made[name] = dataset, list(dataset.items())
        return made[name]

    return items


@pytest.mark.parametrize("name", NAMES)
def test_ids_are_unique_and_the_manifest_accepts_them(name, listed):
    _, items = listed(name)
    manifest.refuse_bad_items(items)
    assert len({item.label for item in items}) > 1


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
        else:
            assert isinstance(content, bytes) or (isinstance(content, np.ndarray) and content.dtype == np.uint8)
