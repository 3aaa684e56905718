from dataclasses import replace

import numpy as np
import pytest

from icebox.features.backbones.pixels import PixelsBackbone
from icebox.features.errors import IceboxError
from icebox.features.extraction.extract import extract
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.data import feature_selection, labelled
from tests.tiny import Doubling, pairs, picture, pictures, rows


def store(tmp_path, labels: str, splits: str) -> FeatureStore:
    """A store of items 0, 1, 2 … with one-letter labels, and splits given as r (train), v, t."""
    names = {"r": "train", "v": "val", "t": "test"}
    items = [
        replace(row, label=label, split=names[split])
        for row, label, split in zip(rows(*map(str, range(len(labels)))), labels, splits, strict=True)
    ]
    extract(items, read=lambda s: s, backbone=Doubling(), cache_root=tmp_path / "cache", store=tmp_path / "s")
    return FeatureStore(tmp_path / "s")


def test_features_and_labels_come_by_split(tmp_path):
    data = labelled.load(store(tmp_path, "baabab", "rrrvvt"))
    assert data.classes == ["a", "b"]
    assert data.train.features[:, 0].tolist() == [0, 1, 2]
    assert data.train.labels.tolist() == [1, 0, 0]
    assert data.val.item_ids.tolist() == ["item3", "item4"]
    assert data.tests["test"].labels.tolist() == [1]
    assert data.train_and_val.item_ids.tolist() == ["item0", "item1", "item2", "item3", "item4"]


def test_items_that_cannot_be_told_apart_are_known(tmp_path):
    train = labelled.load(store(tmp_path, "baabab", "rrrvvt")).train
    assert not train.is_constant
    assert not train.take(np.array([1])).is_constant
    assert train.take(np.array([1, 1, 1])).is_constant
    assert not train.take(np.array([1, 0, 1])).is_constant


def test_there_need_not_be_a_val(tmp_path):
    data = labelled.load(store(tmp_path, "abab", "rrtt"))
    assert data.val is None
    assert data.train_and_val is data.train


def test_a_regressions_labels_are_numbers(tmp_path):
    data = labelled.load(store(tmp_path, "1324", "rrvt"), task="regression")
    assert data.classes == []
    assert data.train.labels.tolist() == [1.0, 3.0]
    with pytest.raises(IceboxError, match="expected labels that are numbers"):
        labelled.load(store(tmp_path, "1a24", "rrvt"), task="regression")


def test_groups_come_from_the_manifest_and_an_item_without_one_is_its_own(tmp_path):
    items = [
        replace(row, label=label, split=split, group=group)
        for row, label, split, group in zip(
            rows(*"0123"), "abab", ("train", "train", "train", "test"), ("p1", "p1", "", "p2"), strict=True
        )
    ]
    extract(items, read=lambda s: s, backbone=Doubling(), cache_root=tmp_path / "cache", store=tmp_path / "s")
    data = labelled.load(FeatureStore(tmp_path / "s"))
    assert data.train.groups.tolist() == ["p1", "p1", "item2"]


def test_few_labels_cut_train_and_val_but_not_test(tmp_path):
    data = labelled.subsample_per_class(labelled.load(store(tmp_path, "ab" * 9, "rrrrrrvvvvvvtttttt")), 2, seed=0)
    assert np.bincount(data.train.labels).tolist() == [2, 2]
    assert np.bincount(data.val.labels).tolist() == [2, 2]
    assert len(data.tests["test"]) == 6


def test_few_labels_are_drawn_from_the_seed(tmp_path):
    full = labelled.load(store(tmp_path, "ab" * 60, "r" * 100 + "v" * 10 + "t" * 10))
    ids = [labelled.subsample_per_class(full, 5, seed=seed).train.item_ids.tolist() for seed in (0, 0, 1)]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize(
    ("labels", "splits", "message"),
    [
        ("aaa", "rvt", "at least two classes in train, found a; move items of another into it"),
        ("ab", "tt", "at least two classes in train, found no items; "),
        ("abab", "rrvv", r"expected items in test, found none; change the dataset's split"),
        ("abcab", "rrvvt", "every class to have items in train, found none of c; leave their rows out or move some"),
    ],
)
def test_splits_that_no_head_can_learn_from_are_refused(tmp_path, labels, splits, message):
    with pytest.raises(IceboxError, match=message):
        labelled.load(store(tmp_path, labels, splits))


def test_outputs_lie_side_by_side_in_the_order_asked_for(tmp_path):
    full = store(tmp_path, "abab", "rrvt")
    data = labelled.load(full, selection=feature_selection.select(full, outputs=["grid", "last"]))
    assert data.train.features[1].tolist() == [1, 1, 1, 1, 1, 2]
    assert feature_selection.select(full, outputs=["grid", "last"]).column_ranges(full) == {
        "grid": [(0, 4)],
        "last": [(4, 6)],
    }
    data = labelled.load(full, selection=feature_selection.select(full, outputs=["last"]))
    assert data.train.features[1].tolist() == [1, 2]


def test_train_holds_each_item_in_every_view_and_val_and_test_in_the_first(tmp_path):
    items = [
        replace(row, label=label, split=split)
        for row, label, split in zip(pictures(0, 51, 102, 153), "abab", ("train", "train", "val", "test"), strict=True)
    ]
    backbone = PixelsBackbone(size=2, grey=True, outputs=["last"])
    options = {"read": picture, "backbone": backbone, "cache_root": tmp_path / "cache", "store": tmp_path / "s"}
    extract(items, views=["identity", "hflip"], **options)
    full = FeatureStore(tmp_path / "s")
    data = labelled.load(full, selection=feature_selection.select(full, views=["hflip", "identity"]))
    assert data.train.item_ids.tolist() == ["item0", "item1"] * 2
    assert data.train.labels.tolist() == [0, 1] * 2
    assert data.train.features[:, 0].tolist() == pytest.approx([0, 0.2, 0, 0])
    assert data.train.features[:, 1].tolist() == pytest.approx([0, 0, 0, 0.2])
    assert data.val.features.tolist() == [pytest.approx([0.4, 0, 0.4, 0])]
    assert len(data.tests["test"].labels) == 1
    alone = labelled.load(full)
    assert alone.train.features[:, 1].tolist() == pytest.approx([0, 0.2])


def test_heads_see_pairs_as_both_texts_their_difference_and_their_product(tmp_path):
    items, known = pairs(("1", "3"), ("2", "2"), ("3", "1"), ("4", "1"))
    items = [
        replace(row, label=label, split=split)
        for row, label, split in zip(items, "abab", ("train", "train", "val", "test"), strict=True)
    ]
    extract(
        items,
        read=known.__getitem__,
        backbone=Doubling(),
        cache_root=tmp_path / "cache",
        store=tmp_path / "s",
        views=["first", "second"],
    )
    full = FeatureStore(tmp_path / "s")
    data = labelled.load(full, selection=feature_selection.select(full, outputs=["last"]))
    assert data.train.features.tolist() == [[1, 2, 3, 6, 2, 4, 3, 12], [2, 4, 2, 4, 0, 0, 4, 16]]
    both = feature_selection.select(full, outputs=["last", "grid"])
    columns = both.column_ranges(full)["last"]
    shown = labelled.load(full, selection=both).train.features
    assert np.hstack([shown[:, start:end] for start, end in columns]).tolist() == data.train.features.tolist()
    second = labelled.load(full, selection=feature_selection.select(full, outputs=["last"], views=["second"]))
    assert second.train.features.tolist() == [[3, 6], [2, 4]]
