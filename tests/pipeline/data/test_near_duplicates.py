"""Copies hidden among points of several dimensions, and what of a store they leave out of train."""

import csv
import os
import shutil
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import icebox
from benchmarks import near_duplicate_texts
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


@pytest.mark.parametrize(("n", "copies", "each"), [(2000, 60, 1), (2000, 20, 2)])
def test_an_index_finds_the_copies_that_comparing_all_finds(n: int, copies: int, each: int) -> None:
    points, hidden = with_copies(n, copies, each, spread=0.08)
    queries = np.arange(0, len(points), 2)
    near = near_duplicates.find(lambda items: points[items], len(points), queries, by_index=True)
    pairs = {(pair.first, pair.second) for pair in near.pairs}
    expected = {pair for pair in hidden if {pair[0] % 2, pair[1] % 2} != {1}}
    assert len(pairs & expected) >= 0.9 * len(expected)
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


def test_items_that_share_a_rare_feature_are_no_copies() -> None:
    """Whitening makes much of what is rare: by gaps alone 40 pairs that have one large feature in common are found."""
    random = np.random.default_rng(0)
    points = random.normal(size=(1500, 12))
    rare = np.zeros((1500, 40))
    rare[np.arange(80), np.arange(80) // 2] = 3
    points = np.concatenate([points, rare], axis=1)
    whitened, _ = near_duplicates.components(lambda items: points[items], 1500)
    by_gaps = near_duplicates.near(partial(near_duplicates.neighbors_and_gaps, whitened), 1500, np.arange(1500))
    assert len(by_gaps) >= 35
    assert len(found(points)) <= 4


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


def test_all_pairs_are_compared_once_a_store_and_selection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = store(tmp_path, {0: ("train", "test"), 1: ("val", "train")})
    selection, kept = feature_selection.select(made), tmp_path / "kept"
    compared = []
    find = near_duplicates.find
    monkeypatch.setattr(near_duplicates, "find", lambda *args, **by: compared.append(1) or find(*args, **by))
    first = near_duplicates.leaked(made, selection, kept=kept)
    assert near_duplicates.leaked(made, selection, kept=kept).tolist() == first.tolist() == [0, 101]
    assert len(compared) == 1
    (path,) = kept.glob("*.npy")
    path.write_bytes(path.read_bytes()[:20])  # a damaged one is made anew
    assert near_duplicates.leaked(made, selection, kept=kept).tolist() == [0, 101]
    shutil.rmtree(tmp_path / "store")
    other = store(tmp_path, {0: ("train", "train"), 1: ("val", "train")})  # a store that has changed has others
    assert near_duplicates.leaked(other, selection, kept=kept).tolist() == [101]
    assert len(compared) == 3


def test_a_class_that_is_all_copies_is_one_line(tmp_path: Path) -> None:
    made = store(tmp_path, {})
    of_b = np.array([i for i in made.items("train") if made.labels[i] == "b"])
    with pytest.raises(IceboxError, match="leakage: near leaves no item of b in train"):
        labelled.load(made, leave_out=of_b)


@pytest.mark.real_data
@pytest.mark.skipif("ICEBOX_REAL_DATA" not in os.environ, reason="ICEBOX_REAL_DATA names no folder")
@pytest.mark.slow
def test_copies_of_tweets_are_found_in_other_case_punctuation_and_words(tmp_path: Path) -> None:
    table = Path(os.environ["ICEBOX_REAL_DATA"]) / "medical_tweets" / "tweets.csv"
    with table.open(encoding="utf-8", newline="") as stream:
        texts = list(dict.fromkeys(row["text"] for row in csv.DictReader(stream)))[:2000]
    copies, originals = near_duplicate_texts.hidden_copies(texts, 100)
    pairs = found(near_duplicate_texts.encoded([*texts, *copies], "minilm", cache=tmp_path))
    hidden = {(int(i), len(texts) + number) for number, i in enumerate(originals)}
    recall, precision = near_duplicate_texts.recall_and_precision([*texts, *copies], hidden, pairs)
    assert recall >= 0.95
    assert precision >= 0.9


@pytest.mark.real_data
@pytest.mark.skipif("ICEBOX_REAL_DATA" not in os.environ, reason="ICEBOX_REAL_DATA names no folder")
@pytest.mark.slow
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
