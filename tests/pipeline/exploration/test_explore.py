"""The document of a small store: numbers below 100 lie apart from the others, and one item is labelled wrongly."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from icebox.features.extraction.extract import extract
from icebox.features.manifest.validation import Task
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.data import near_duplicates
from icebox.pipeline.data.near_duplicates import NearDuplicates, NearPair
from icebox.pipeline.exploration import explore
from tests.tiny import Doubling, rows


class TwoClouds(Doubling):
    outputs = ("last",)

    def encode(self, prepared: Sequence[float]) -> dict[str, np.ndarray]:
        points = [np.random.default_rng(int(number)).normal(10 * (number < 100), size=8) for number in prepared]
        return {"last": np.array(points, np.float32)}


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    numbers = [*range(50), *range(100, 150)]
    items = [
        replace(row, label="a" if number < 100 and number != 5 else "b", split="test" if i % 25 == 0 else "train")
        for i, (row, number) in enumerate(zip(rows(*map(str, numbers)), numbers, strict=True))
    ]
    folders = {"cache_root": tmp_path / "cache", "store": tmp_path / "store"}
    extract(items, read=lambda source: source, backbone=TwoClouds(), **folders)
    return FeatureStore(tmp_path / "store")


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_document_holds_a_map_near_items_and_of_classes_suspected_labels(store: FeatureStore, task: Task):
    steps: list[int] = []
    document = explore.explore(store, task=task, group_of=str, seed=0, on_step=lambda: steps.append(1))
    assert len(steps) == explore.STEPS
    tests = ["item0", "item25", "item50", "item75"]
    assert document["map"]["item_ids"] == tests
    assert list(document["nearest"]) == tests
    for item_id, neighbors in document["nearest"].items():
        assert [cosine for _, cosine in neighbors] == sorted((cosine for _, cosine in neighbors), reverse=True)
        assert all((int(near[4:]) < 50) == (int(item_id[4:]) < 50) for near, _ in neighbors)
    suspects = {suspect["item_id"]: suspect["suggested"] for suspect in document["suspects"]}
    assert suspects == ({"item5": "a"} if task == "classification" else {})
    assert document["judged"] == (100 if task == "classification" else 0)


def test_test_sets_that_lie_apart_from_train_are_found(tmp_path: Path):
    # from 0 to 99 in train, of which the test set has none: its numbers lie in the other cloud
    splits = {"train": range(60), "test": range(60, 99), "test-far": range(100, 140), "test-few": range(140, 145)}
    items = [
        replace(row, label="a", split=split, item_id=f"{split}{row.item_id}")
        for split, numbers in splits.items()
        for row in rows(*map(str, numbers))
    ]
    extract(items, read=lambda source: source, backbone=TwoClouds(), cache_root=tmp_path / "c", store=tmp_path / "s")
    found = explore.separations(FeatureStore(tmp_path / "s"), task="classification", seed=0)
    assert set(found) == {"test", "test-far"}
    assert found["test-far"]["auc"] == 1.0
    assert found["test-far"]["p"] < 1e-4
    assert found["test"]["p"] > 0.01


def test_near_duplicates_across_splits_come_first(store: FeatureStore, monkeypatch: pytest.MonkeyPatch):
    pairs = [NearPair(1, 2, 0.99, 0.0), NearPair(0, 3, 0.98, 1e-9), NearPair(25, 7, 0.97, 1e-6)]
    monkeypatch.setattr(near_duplicates, "of_store", lambda *_: NearDuplicates(pairs, 100, 100))
    near = explore.explore(store, task="classification", group_of=str, seed=0, on_step=lambda: None)["near"]
    assert [pair[:2] for pair in near["pairs"]] == [["item0", "item3"], ["item25", "item7"], ["item1", "item2"]]
    assert (near["found"], near["across"]) == (3, 2)


@pytest.mark.slow
def test_one_thread_computes_a_map_whatever_was_loaded_before():
    """A limit of threads that begins before a library is loaded does not hold for it."""
    code = """
from threadpoolctl import threadpool_info, threadpool_limits
from icebox.pipeline.exploration import explore
explore.load_libraries()
before = {library["filepath"] for library in threadpool_info()}
with threadpool_limits(1):
    import sklearn.decomposition, sklearn.linear_model, sklearn.manifold, sklearn.model_selection, sklearn.neighbors
    threads = {library["filepath"]: library["num_threads"] for library in threadpool_info()}
assert threads == dict.fromkeys(before, 1), threads
"""
    subprocess.run([sys.executable, "-c", code], check=True)
