from dataclasses import replace

import numpy as np
import pytest

from features.errors import IceboxError
from features.extract import extract
from features.store import FeatureStore
from pipeline import labelled
from tests.tiny import Doubling, rows


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
    data = labelled.read(store(tmp_path, "baabab", "rrrvvt"), labels_per_class=None, seed=0)
    assert data.classes == ["a", "b"]
    assert data.train.features[:, 0].tolist() == [0, 1, 2]
    assert data.train.labels.tolist() == [1, 0, 0]
    assert data.val.item_ids.tolist() == ["item3", "item4"]
    assert data.test.labels.tolist() == [1]


def test_few_labels_cut_train_and_val_but_not_test(tmp_path):
    data = labelled.read(store(tmp_path, "ab" * 9, "rrrrrrvvvvvvtttttt"), labels_per_class=2, seed=0)
    assert np.bincount(data.train.labels).tolist() == [2, 2]
    assert np.bincount(data.val.labels).tolist() == [2, 2]
    assert len(data.test.labels) == 6


def test_few_labels_are_drawn_from_the_seed(tmp_path):
    full = store(tmp_path, "ab" * 60, "r" * 100 + "v" * 10 + "t" * 10)
    drawn = [labelled.read(full, labels_per_class=5, seed=seed).train.item_ids.tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(
    ("labels", "splits", "message"),
    [
        ("aaa", "rvt", "at least two classes in train, found 1"),
        ("abab", "rrtt", r"expected items in val, found none; raise the dataset's split\.val"),
        ("abcab", "rrvvt", "every class to have items in train, found none of c"),
    ],
)
def test_splits_that_no_head_can_learn_from_are_refused(tmp_path, labels, splits, message):
    with pytest.raises(IceboxError, match=message):
        labelled.read(store(tmp_path, labels, splits), labels_per_class=None, seed=0)
