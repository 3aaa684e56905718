"""Stores side by side: rows joined by item, whatever the members' orders, and nothing passed over in silence."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from icebox.features.errors import IceboxError
from icebox.features.extraction.extract import extract
from icebox.features.joining.join import join
from icebox.features.joining.joined_store import JoinedStore, open_store
from icebox.features.manifest.manifest import ManifestRow
from icebox.features.store.feature_store import FeatureStore
from tests.tiny import Doubling, rows


def stored(folder: Path, manifest: list[ManifestRow], *, shift: float = 0.0) -> Path:
    extract(
        manifest,
        read=lambda source: source,
        backbone=Doubling(version=1 + int(shift), shift=shift),
        cache_root=folder.parent / "cache",
        store=folder,
        shard_rows=2,
    )
    return folder


def joined(tmp_path: Path, first: list[ManifestRow], other: list[ManifestRow], **options) -> JoinedStore:
    folders = {"a": stored(tmp_path / "a", first), "b": stored(tmp_path / "b", other, shift=100)}
    join(tmp_path / "both", folders, **options)
    store = open_store(tmp_path / "both")
    assert isinstance(store, JoinedStore)
    return store


def test_rows_of_one_item_stand_side_by_side_whatever_the_order(tmp_path):
    first = rows("1", "2", "3", "4")
    store = joined(tmp_path, first, first[::-1])
    assert store.item_ids.tolist() == ["item0", "item1", "item2", "item3"]
    assert store.outputs == ("a/last", "a/grid", "b/last", "b/grid")
    expected = [[1, 2, 101, 202], [2, 4, 102, 204], [3, 6, 103, 206], [4, 8, 104, 208]]
    assert store.load(outputs=["a/last", "b/last"]).tolist() == expected
    assert store.load_items(np.array([3, 0]), outputs=["b/last"]).tolist() == [[104, 208], [101, 202]]
    assert store.blocks(["a/last", "a/grid", "b/last"], "identity") == [(0, 6), (6, 8)]
    assert store.column_ranges(["b/last", "a/grid"], "identity") == {"b/last": [(0, 2)], "a/grid": [(2, 6)]}


def test_no_feature_is_copied_and_plain_h5py_reads_them(tmp_path):
    first = rows("1", "2", "3")
    joined(tmp_path, first, first[::-1])
    assert [path.name for path in (tmp_path / "both").iterdir()] == ["join.h5"]
    with h5py.File(tmp_path / "both" / "join.h5") as file:
        assert file["features/b/last"][:].tolist() == [[101, 202], [102, 204], [103, 206]]
        assert file["split"].asstr()[:].tolist() == ["train"] * 3


def test_equal_members_give_equal_bytes(tmp_path):
    first = rows("1", "2")
    joined(tmp_path, first, first)
    before = (tmp_path / "both" / "join.h5").read_bytes()
    join(tmp_path / "both", {name: tmp_path / name for name in ("a", "b")})
    assert (tmp_path / "both" / "join.h5").read_bytes() == before


def test_items_that_one_lacks_are_an_error_or_dropped_with_their_number(tmp_path):
    first = rows("1", "2", "3", "4")
    with pytest.raises(IceboxError, match=r"'b' lacks 2 of the 4 items of 'a', the first 'item1'.*missing: drop"):
        joined(tmp_path, first, [first[0], first[2]])
    account = join(tmp_path / "both", {name: tmp_path / name for name in ("a", "b")}, missing="drop")
    assert (account.items, account.left_out, account.unused) == (2, 2, 0)
    assert JoinedStore(tmp_path / "both").load(outputs=["a/last"]).tolist() == [[1, 2], [3, 6]]


def test_items_that_only_the_second_has_are_counted(tmp_path):
    first = rows("1", "2", "3")
    stored(tmp_path / "a", first[1:])
    stored(tmp_path / "b", first, shift=1)
    assert join(tmp_path / "both", {name: tmp_path / name for name in ("a", "b")}).unused == 1


def test_stores_without_an_item_in_common_show_their_ids(tmp_path):
    other = [replace(row, item_id=f"other/{row.item_id}.png") for row in rows("1", "2")]
    with pytest.raises(IceboxError, match=r"no item in common: ids are such as 'item0' and 'other/item0.png'"):
        joined(tmp_path, rows("1", "2"), other, missing="drop")


def test_other_labels_of_an_item_are_an_error_but_not_other_spellings_or_none(tmp_path):
    first = [replace(row, label=label) for row, label in zip(rows("1", "2", "3"), ("1", "True", "0"), strict=True)]
    alike = [replace(row, label=label) for row, label in zip(first, ("1.0", "true", ""), strict=True)]
    assert joined(tmp_path, first, alike).labels.tolist() == ["1", "True", "0"]
    other = [replace(first[0], label="2"), *first[1:]]
    stored(tmp_path / "c", other, shift=3)
    with pytest.raises(
        IceboxError, match=r"1 of 3 items have another label in 'c' than in 'a', .*'item0' \(2, not 1\)"
    ):
        join(tmp_path / "both", {name: tmp_path / name for name in ("a", "c")})


def test_splits_and_groups_are_the_first_ones_and_conflicts_are_counted(tmp_path):
    first = [*rows("1", "2"), *[replace(row, item_id="x") for row in rows("3", split="test")]]
    other = [replace(row, split="train", group="p") for row in first]
    stored(tmp_path / "a", first)
    stored(tmp_path / "b", other, shift=1)
    account = join(tmp_path / "both", {name: tmp_path / name for name in ("a", "b")})
    assert (account.other_splits, account.crossing, account.examples["crossing"]) == (1, 1, "p")
    store = JoinedStore(tmp_path / "both")
    assert (store.splits.tolist(), store.groups.tolist()) == (["train", "train", "test"], ["", "", ""])
    assert store.items("test").tolist() == [2]


def test_a_joined_store_is_joined_with_a_third_but_not_with_its_own_member(tmp_path):
    first = rows("1", "2")
    joined(tmp_path, first, first[::-1])
    stored(tmp_path / "c", first, shift=7)
    join(tmp_path / "three", {name: tmp_path / name for name in ("both", "c")})
    three = JoinedStore(tmp_path / "three")
    assert list(three.members) == ["a", "b", "c"]
    assert three.load(outputs=["a/last", "b/last", "c/last"])[0].tolist() == [1, 2, 101, 202, 8, 16]
    with pytest.raises(IceboxError, match="'b' is in both 'both' and 'b'; join it once"):
        join(tmp_path / "four", {name: tmp_path / name for name in ("both", "b")})


def test_only_the_outputs_that_are_named_are_joined_and_a_joined_one_keeps_its_own(tmp_path):
    first = rows("1", "2")
    store = joined(tmp_path, first, first, outputs={"a": ["last"], "b": None})
    assert store.outputs == ("a/last", "b/last", "b/grid")
    stored(tmp_path / "c", first, shift=7)
    join(tmp_path / "three", {name: tmp_path / name for name in ("both", "c")}, outputs={"c": ["grid"]})
    assert JoinedStore(tmp_path / "three").outputs == ("a/last", "b/last", "b/grid", "c/grid")


def test_a_member_that_has_changed_since_is_told_and_one_that_is_gone_is_named(tmp_path):
    first = rows("1", "2")
    joined(tmp_path, first, first)
    stored(tmp_path / "b", rows("1", "2", "3"), shift=100)
    with pytest.raises(IceboxError, match="'b', which it is joined of, changed since") as caught:
        JoinedStore(tmp_path / "both")
    assert (caught.value.hint, caught.value.values) == ("join", {"store": "both"})
    shutil.rmtree(tmp_path / "b")
    with pytest.raises(IceboxError, match=f"^{tmp_path}/b: this store, of which 'both' is joined, is not here"):
        JoinedStore(tmp_path / "both")


def test_a_damaged_or_foreign_join_is_one_line(tmp_path):
    first = rows("1", "2")
    joined(tmp_path, first, first)
    path = tmp_path / "both" / "join.h5"
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(IceboxError, match="expected a joined store, found") as caught:
        open_store(tmp_path / "both")
    assert caught.value.hint == "join"
    assert isinstance(open_store(tmp_path / "a"), FeatureStore)
    with h5py.File(path, "w") as file:  # an entry of another version
        text = b'{"columns": {}, "members": [{"name": "a"}]}'
        file.attrs["join"], file.attrs["sha256"] = np.bytes_(text), np.bytes_(hashlib.sha256(text).hexdigest().encode())
    with pytest.raises(IceboxError, match="expected a joined store, found one of another version, or damaged"):
        open_store(tmp_path / "both")
    join(tmp_path / "both", {name: tmp_path / name for name in ("a", "b")})
    with pytest.raises(IceboxError, match="no output 'last'; "):
        JoinedStore(tmp_path / "both").load(outputs=["last"])
