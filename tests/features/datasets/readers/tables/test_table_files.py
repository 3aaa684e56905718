from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from icebox.features.datasets.csv_text import Source
from icebox.features.errors import IceboxError


@pytest.fixture
def folder(tmp_path):
    """Parquet files of two rows each, under these names."""

    def make(*names: str):
        for number, name in enumerate(names):
            columns = {"text": [f"{number} a", f"{number} b"], "label": ["x", "y"]}
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / name)
        return tmp_path

    return make


def found(path, **settings) -> list[tuple[str, str, str]]:
    source = Source(path=path, **settings)
    return [(item.item_id, item.split, source.read(item.source)) for item in source.items()]


SHARDS = ("train-00000-of-00002.parquet", "train-00001-of-00002.parquet")


def test_several_files_of_a_split_are_one_table(folder):
    root = folder(*SHARDS, "test.parquet")
    assert found({"train": [root / name for name in SHARDS], "test": root / "test.parquet"}) == [
        ("train/0", "train", "0 a"),
        ("train/1", "train", "0 b"),
        ("train/2", "train", "1 a"),
        ("train/3", "train", "1 b"),
        ("test/0", "test", "2 a"),
        ("test/1", "test", "2 b"),
    ]


@pytest.mark.parametrize("where", ["folder", "pattern", "list"])
def test_files_go_by_the_splits_that_all_their_names_tell(folder, where):
    names = [*SHARDS, "validation-00000.parquet"]
    root = folder(*names)
    path = {"folder": root, "pattern": root / "*.parquet", "list": [root / name for name in names]}[where]
    assert [(item_id, split) for item_id, split, _ in found(path)] == [
        *((f"train/{i}", "train") for i in range(4)),
        *((f"val/{i}", "val") for i in range(2)),
    ]
    assert {split for _, split, _ in found(path, split="label")} == {"x", "y"}


def test_files_whose_names_tell_nothing_are_one_table_without_splits(folder):
    root = folder("part-0.parquet", "part-1.parquet")
    assert [(item_id, split) for item_id, split, _ in found(root)] == [(str(i), "") for i in range(4)]


def test_one_file_alone_has_no_split_whatever_its_name(folder):
    assert [(item_id, split) for item_id, split, _ in found(folder("train.parquet") / "train.parquet")] == [
        ("0", ""),
        ("1", ""),
    ]


def test_a_test_beside_names_that_tell_nothing_is_an_error(folder):
    with pytest.raises(IceboxError, match=r"every file or of none, found none in more\.parquet"):
        found(folder("test.parquet", "more.parquet"))


def test_names_of_splits_are_ours(folder):
    root = folder("a.parquet", "b.parquet")
    assert {split for _, split, _ in found({"Training": root / "a.parquet", "validation": root / "b.parquet"})} == {
        "train",
        "val",
    }


def test_other_files_in_a_folder_are_counted(folder, monkeypatch):
    root = folder("a.parquet")
    (root / "README.md").write_text("x")
    monkeypatch.chdir(root.parent)  # long paths are cut
    source = Source(path=Path(root.name))
    assert len(list(source.items())) == 2
    assert [remark.sentence() for remark in source.account.remarks()] == [
        f"files and folders beside the tables, passed over: 1, {root.name}/README.md"
    ]


@pytest.mark.parametrize(
    ("path", "message"),
    [("*.parquet", "no file matches"), ("", "expected tables"), ([], "expected a file or several"), ({}, "found none")],
)
def test_no_file_at_all_is_an_error(tmp_path, path, message):
    with pytest.raises(IceboxError, match=message):
        found(tmp_path / path if isinstance(path, str) else path)


def test_a_name_with_a_bracket_is_a_name(folder):
    root = folder("notes[1].parquet")
    assert len(found(root / "notes[1].parquet")) == 2
