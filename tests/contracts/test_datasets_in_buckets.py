"""Every dataset that reads files gives the same items and contents from a bucket as from a folder on disk."""

import inspect
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icebox.features import fingerprint
from icebox.features.abc.dataset import DenseDataset
from icebox.features.errors import IceboxError
from tests.contracts import test_datasets
from tests.contracts.test_datasets import MAKERS, NAMES, source

READ_FILES = [
    name for name in NAMES if name in MAKERS and "path" in inspect.signature(source(name).__init__).parameters
]
ON_DISK_ONLY = {"huggingface"}  # whose library reads whole folders
GENERATED = {"sequences"}


def in_bucket(value: Any, folder: Path) -> Any:
    """A maker's argument with the bucket's folder in place of that on disk."""
    if isinstance(value, Mapping):
        return {key: in_bucket(each, folder) for key, each in value.items()}
    if isinstance(value, str | Path):
        return str(value).replace(str(folder), "s3://lab/d")
    return value


@pytest.mark.parametrize("name", sorted({*READ_FILES} - GENERATED))
def test_a_bucket_gives_the_items_of_the_folder(name, s3, tmp_path, monkeypatch):
    folder = tmp_path / "d"
    folder.mkdir()
    arguments: dict[str, Any] = {}

    def recording(of: str) -> Any:
        def made(**given: Any) -> Any:
            arguments.update(given)
            return source(of)(**given)

        return made

    monkeypatch.setattr(test_datasets, "source", recording)
    local = MAKERS[name](folder)
    s3.put(folder, "d")
    remote = source(name)(**{key: in_bucket(value, folder) for key, value in arguments.items()})
    if name in ON_DISK_ONLY:
        with pytest.raises(IceboxError, match="expected a folder on this machine; copy it here"):
            list(remote.items())
        return
    s3.faults.share = 0.1
    items = list(local.items())
    further = list(remote.items())
    assert further == [replace(item, source=in_bucket(item.source, folder)) for item in items]  # a table's row names it
    assert [doubt.as_json() for doubt in remote.account.remarks()] == [d.as_json() for d in local.account.remarks()]
    for item, other in zip(items, further, strict=True):
        contents = [local.read(item.source), remote.read(other.source)]
        assert fingerprint.of_content(contents[0]) == fingerprint.of_content(contents[1])
        if isinstance(local, DenseDataset):
            assert local.target(item.source).digest == remote.target(item.source).digest


def test_a_table_of_a_bucket_with_pictures_in_cells(s3, tmp_path):
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"image": [b"one", b"two"], "label": ["a", "b"]})
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    s3.put(tmp_path, "d")
    remote = source("image_table")(path="s3://lab/d/t.parquet", image="image")
    assert [remote.read(item.source) for item in remote.items()] == [b"one", b"two"]


def test_several_tables_and_patterns(s3, tmp_path):
    for number in range(2):
        (tmp_path / f"part-{number}.csv").write_text(f"text,label\nnumber {number},a\nother {number},b\n")
    s3.put(tmp_path, "d")
    texts = ["number 0", "other 0", "number 1", "other 1"]
    for path in ("s3://lab/d", "s3://lab/d/part-*.csv", ["s3://lab/d/part-0.csv", "s3://lab/d/part-1.csv"]):
        dataset = source("csv_text")(path=path, text="text", label="label")
        assert [dataset.read(item.source) for item in dataset.items()] == texts
    by_split = {"train": "s3://lab/d/part-0.csv", "test": "s3://lab/d/part-1.csv"}
    assert [item.split for item in source("csv_text")(path=by_split, text="text").items()] == ["train"] * 2 + [
        "test"
    ] * 2


def test_features_are_mapped_from_a_copy(s3, tmp_path):
    np.save(tmp_path / "x.npy", np.eye(4, dtype=np.float32))
    (tmp_path / "y.txt").write_text("a\nb\na\nb\n")
    s3.put(tmp_path, "d")
    dataset = source("features")(path="s3://lab/d/x.npy", labels="s3://lab/d/y.txt")
    assert [item.label for item in dataset.items()] == ["a", "b", "a", "b"]
    assert dataset.read("/2").tolist() == [[0, 0, 1, 0]]


def test_a_folder_or_bucket_that_is_not_there_is_one_line(s3):
    with pytest.raises(IceboxError, match="image_folder: there is no folder s3://lab/none"):
        list(source("image_folder")(path="s3://lab/none").items())
    with pytest.raises(IceboxError, match="image_folder: there is no folder s3://nobucket/x"):
        list(source("image_folder")(path="s3://nobucket/x").items())
    with pytest.raises(IceboxError, match=r"no file s3://lab/t\.csv"):
        list(source("csv_text")(path="s3://lab/t.csv", text="text").items())
