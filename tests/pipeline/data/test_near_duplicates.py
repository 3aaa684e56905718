"""Copies hidden among points of several dimensions, and what of a store they leave out of train."""

import os
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import icebox
from benchmarks.near_duplicates import hidden_copies
from icebox.features.errors import IceboxError
from icebox.features.extraction.extract import extract
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.data import feature_selection, labelled, near_duplicates
from tests.tiny import Doubling, rows


def found(points: np.ndarray, queries: np.ndarray | None = None) -> set[tuple[int, int]]:
    queries = np.arange(len(points)) if queries is None else queries
    near = near_duplicates.find(lambda items: points[items], len(points), queries)
    assert [pair.p for pair in near.pairs] == sorted(pair.p for pair in near.pairs)
    return {(pair.first, pair.second) for pair in near.pairs}


def with_copies(
    n: int, copies: int, each: int, *, spread: float, d: int = 12
) -> tuple[np.ndarray, set[tuple[int, int]]]:
    """Points of 5 clouds, some in several copies that differ a little, and the pairs of these."""
    random = np.random.default_rng(n)
    points = random.normal(size=(n, 12)) + 3 * random.normal(size=(5, 12))[random.integers(0, 5, n)]
    originals = np.repeat(np.arange(copies), each)
    points = np.concatenate([points, points[originals] + spread * random.normal(size=(len(originals), 12))])
    groups = [[i, *(n + np.flatnonzero(originals == i)).tolist()] for i in range(copies)]
    return points.astype(np.float16), {pair for group in groups for pair in combinations(group, 2)}


@pytest.mark.parametrize(("n", "copies", "each"), [(600, 60, 1), (600, 3, 1), (400, 30, 3), (80, 8, 1), (2000, 20, 2)])
def test_copies_are_found_and_little_else(n: int, copies: int, each: int) -> None:
    points, hidden = with_copies(n, copies, each, spread=0.08)
    pairs = found(points)
    assert len(pairs & hidden) >= 0.95 * len(hidden)
    assert len(pairs & hidden) >= 0.9 * len(pairs)


@pytest.mark.parametrize("kind", ["normal", "uniform in two dimensions", "clouds", "heavy tails", "few levels"])
def test_nothing_is_found_where_there_are_no_copies(kind: str) -> None:
    random = np.random.default_rng(0)
    points = {
        "normal": lambda: random.normal(size=(1500, 30)),
        "uniform in two dimensions": lambda: random.uniform(size=(1500, 2)),
        "clouds": lambda: with_copies(1500, 0, 0, spread=0)[0],
        "heavy tails": lambda: random.standard_t(3, (1500, 20)),
        "few levels": lambda: random.integers(0, 3, (1500, 30)).astype(float),
    }[kind]()
    assert len(found(points)) <= 2


def test_equal_features_are_pairs_and_all_equal_ones_no_finding_of_distances() -> None:
    points = np.random.default_rng(0).normal(size=(100, 6))
    points[50] = points[51] = points[7]
    assert found(points) == {(7, 50), (7, 51)}
    assert found(np.zeros((30, 4))) == {(0, i) for i in range(1, 30)}
    assert found(points[:10]) == set()


def test_of_items_that_are_asked_for_alone_the_pairs_are_the_same() -> None:
    points, hidden = with_copies(600, 20, 1, spread=0.05)
    asked = np.arange(600, 620)
    assert found(points, asked) == hidden


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    points, _ = with_copies(600, 20, 1, spread=0.05)
    whole = found(points)
    monkeypatch.setattr(near_duplicates, "BLOCK_NUMBERS", 5000)
    monkeypatch.setattr(near_duplicates, "BLOCK_ROWS", 33)
    assert found(points) == whole


class Points(Doubling):
    """Items 0 to 99 are points at random, and item 100 + i is a copy of i."""

    outputs = ("last",)

    def encode(self, prepared):
        points = [np.random.default_rng(int(number) % 100).normal(size=8) + 1e-3 * int(number) for number in prepared]
        return {"last": np.array(points, np.float32)}


def store(folder: Path, copies: dict[int, tuple[str, str]]) -> FeatureStore:
    """A hundred items of train, val and test in turn; `copies`: the splits of an item and of its copy."""
    numbers = [*range(100), *(100 + i for i in copies)]
    splits = [("train", "train", "val", "test")[i % 4] for i in range(100)]
    for i, (split, _) in copies.items():
        splits[i] = split
    splits += [split for _, split in copies.values()]
    items = [
        replace(row, label="ab"[number % 2], split=split)
        for row, number, split in zip(rows(*map(str, numbers)), numbers, splits, strict=True)
    ]
    folders = {"cache_root": folder / "cache", "store": folder / "store"}
    extract(items, read=lambda source: source, backbone=Points(), **folders)
    return FeatureStore(folder / "store")


def test_copies_on_another_side_are_left_out_of_train_and_of_val_but_never_of_test(tmp_path: Path) -> None:
    copies = {0: ("train", "test"), 1: ("val", "train"), 2: ("val", "test"), 4: ("train", "train"), 5: ("test", "test")}
    made = store(tmp_path, copies)
    leaked = near_duplicates.leaked(made, feature_selection.select(made))
    position = {item_id: i for i, item_id in enumerate(made.item_ids.tolist())}
    assert sorted(leaked.tolist()) == sorted([0, 101, 2])  # of the copies of 1 that of train
    data = labelled.load(made, leave_out=leaked)
    assert not {position[name] for name in data.train.item_ids} & set(leaked.tolist())
    assert len(data.tests["test"]) == len(made.items("test"))
    assert len(data.train) == len(made.items("train")) - 2
    assert data.val is not None
    assert len(data.val) == len(made.items("val")) - 1


def test_a_class_that_is_all_copies_is_one_line(tmp_path: Path) -> None:
    made = store(tmp_path, {})
    of_b = np.array([i for i in made.items("train") if made.labels[i] == "b"])
    with pytest.raises(IceboxError, match="leakage: near leaves no item of b in train"):
        labelled.load(made, leave_out=of_b)


@pytest.mark.real_data
@pytest.mark.skipif("ICEBOX_REAL_DATA" not in os.environ, reason="ICEBOX_REAL_DATA names no folder")
def test_copies_of_photos_are_found_though_saved_anew_cropped_or_mirrored(tmp_path: Path) -> None:
    data = Path(os.environ["ICEBOX_REAL_DATA"])
    weights = data / "weights" / "squeezenet1_1-imagenet-features.safetensors"
    weights = weights if weights.exists() else data.parent / "weights" / weights.name
    photos = [Image.open(path).convert("RGB") for path in sorted((data / "flowers5").rglob("*.jpg"))[::5]]
    copies, originals = hidden_copies(photos, 45)
    encoder = icebox.Encoder("squeezenet1_1", weights=weights, precision="float32", cache=tmp_path)
    features = np.asarray(encoder.fit_transform([*photos, *copies]))
    own, pairs = found(features[: len(photos)]), found(features)
    hidden = {(int(i), len(photos) + number) for number, i in enumerate(originals)}
    assert len(pairs & hidden) >= 0.95 * len(hidden)
    assert len(pairs & hidden) >= 0.9 * len(pairs - own)
