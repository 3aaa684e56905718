from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from icebox.features.datasets.features import Source
from icebox.features.errors import IceboxError

X = np.arange(12, dtype=np.float32).reshape(4, 3)
Y = ["a", "b", "a", "b"]


def npz(folder: Path) -> Source:
    np.savez(folder / "a.npz", X=X, y=Y, split=["train", "val", "test", "train"], ids=list("wxyz"), groups=[1, 1, 2, 2])
    return Source(path=folder / "a.npz")


def npy(folder: Path) -> Source:
    np.save(folder / "a.npy", X)
    (folder / "labels.txt").write_text("\n".join(Y) + "\n")
    return Source(path=folder / "a.npy", labels=folder / "labels.txt")


def lists(folder: Path) -> Source:
    pq.write_table(pa.table({"vector": list(X), "class": Y}), folder / "a.parquet")
    return Source(path=folder / "a.parquet", x="vector", y="class")


def columns(folder: Path) -> Source:
    numbers = {f"f{i}": X[:, i] for i in range(3)}
    pq.write_table(pa.table({**numbers, "y": Y, "note": ["n"] * 4}), folder / "a.parquet")
    return Source(path=folder / "a.parquet")


def parts(folder: Path) -> Source:
    np.savez(folder / "train.npz", X=X[:2], y=Y[:2])
    np.savez(folder / "test.npz", X=X[2:], y=Y[2:])
    return Source(path={"train": folder / "train.npz", "test": folder / "test.npz"})


@pytest.mark.parametrize("make", [npz, npy, lists, columns, parts])
def test_every_kind_of_file_holds_the_same_vectors_and_labels(tmp_path, make):
    source = make(tmp_path)
    items = list(source.items())
    assert [item.label for item in items] == Y
    assert len({item.item_id for item in items}) == 4
    read = np.stack([source.read(item.source) for item in items])
    assert read.shape == (4, 1, 3)
    np.testing.assert_array_equal(read[:, 0], X)


def test_splits_ids_and_groups_are_the_arrays_own_or_those_of_the_files(tmp_path):
    items = list(npz(tmp_path).items())
    assert [(i.item_id, i.split, i.group) for i in items[:2]] == [("w", "train", "1"), ("x", "val", "1")]
    assert [i.split for i in parts(tmp_path).items()] == ["train", "train", "test", "test"]


def test_columns_without_numbers_are_told(tmp_path):
    source = columns(tmp_path)
    list(source.items())
    assert "note" in " ".join(remark.sentence() for remark in source.account.remarks())


def test_further_files_need_no_labels(tmp_path):
    np.save(tmp_path / "new.npy", X[:2])
    other = npz(tmp_path).elsewhere(tmp_path / "new.npy", labelled=False)
    assert [item.label for item in other.items()] == ["", ""]
    assert npz(tmp_path).elsewhere(tmp_path / "x.csv", labelled=False) is None


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X, "y": Y}, "no array 'X'; `x` names it; there are: x, y"),
        ({"X": X}, "found no 'y'"),
        ({"X": X, "y": Y[:3]}, r"y: expected 4 values, one a row of X, found \(3,\)"),
        ({"X": X[0], "y": Y}, r"expected numbers \(n, d\), found float32 \(3,\)"),
        ({"X": np.array([["a"]]), "y": ["a"]}, r"expected numbers \(n, d\)"),
        ({"X": np.where(X == 4, np.nan, X), "y": Y}, "1 rows hold numbers that are not finite .*, first row 1"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(IceboxError, match=message):
        list(Source(path=tmp_path / "a.npz").items())


def test_pickled_and_cut_npy_files_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[{}]]), allow_pickle=True)
    with pytest.raises(IceboxError, match="pickled objects"):
        list(Source(path=tmp_path / "a.npy").items())
    np.save(tmp_path / "b.npy", X)
    (tmp_path / "b.npy").write_bytes((tmp_path / "b.npy").read_bytes()[:-4])
    with pytest.raises(IceboxError, match="not the size of its bytes"):
        list(Source(path=tmp_path / "b.npy").items())
