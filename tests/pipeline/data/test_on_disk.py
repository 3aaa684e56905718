"""Features on disk give what the array gives."""

import numpy as np
import pytest

from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.data import feature_selection, on_disk
from icebox.pipeline.data.labelled import LabelledData, LabelledSplit, load
from icebox.pipeline.evaluation import predictions
from icebox.pipeline.heads import centroid, knn, linear_probe, linear_svm, logreg, mlp, ridge
from tests.features.store.test_streaming import made


@pytest.fixture
def store(tmp_path, monkeypatch) -> FeatureStore:
    monkeypatch.setattr(on_disk, "BLOCK_ROWS", 64)
    return made(tmp_path, range(300), shard_rows=50)


def test_they_are_read_by_slice_and_positions_and_whole(store):
    X = on_disk.DiskFeatures(store, np.arange(300), feature_selection.select(store))
    whole = store.load().astype(np.float32)
    assert (X.shape, len(X), X.dtype) == (whole.shape, 300, np.float32)
    np.testing.assert_array_equal(X[10:20], whole[10:20])
    np.testing.assert_array_equal(X[np.array([5, 1])], whole[[5, 1]])
    np.testing.assert_array_equal(np.asarray(X), whole)
    np.testing.assert_array_equal(X.take(np.arange(5, 9)).with_transform(lambda block: 2 * block)[:], 2 * whole[5:9])


@pytest.mark.parametrize("scale", ["each", "overall", "l2", "none"])
@pytest.mark.parametrize("family", [logreg, ridge, knn, linear_svm, centroid, linear_probe, mlp])
@pytest.mark.slow
def test_a_head_learns_the_same_from_them_as_from_the_array(store, family, scale):
    X, y = (
        on_disk.DiskFeatures(store, np.arange(300), feature_selection.select(store)),
        (np.arange(300) % 100 < 50).astype(int),
    )
    one, other = (family.build(scale=scale).fit(features, y) for features in (X, np.asarray(X)))
    parts = [LabelledSplit(store.item_ids, features, y, store.item_ids) for features in (X, np.asarray(X))]
    data = LabelledData(["a", "b"], {})
    scores = [
        predictions.score_head(head, part, data).predictions.scores
        for head, part in zip((one, other), parts, strict=True)
    ]
    np.testing.assert_allclose(scores[0], scores[1], rtol=2e-3, atol=2e-3)


def test_a_store_too_large_for_memory_stays_on_disk(store, monkeypatch):
    assert isinstance(load(store_with_tests(store)).train.features, np.ndarray)
    monkeypatch.setattr(on_disk, "MEMORY_SHARE", 1e-12)
    data = load(store_with_tests(store))
    assert isinstance(data.train.features, on_disk.DiskFeatures)
    assert isinstance(data.train.take(np.arange(3)).features, on_disk.DiskFeatures)


def test_a_large_store_stays_on_disk_for_a_head_that_reads_it_there(store, monkeypatch):
    monkeypatch.setattr(on_disk, "STREAMED_BYTES", 1000)
    assert isinstance(load(store_with_tests(store), streams=True).train.features, on_disk.DiskFeatures)
    assert isinstance(load(store_with_tests(store)).train.features, np.ndarray)


def test_rows_for_many_passes_are_kept_as_they_are_stored(tmp_path, store, monkeypatch):
    X = on_disk.DiskFeatures(store, np.arange(0, 300, 3), feature_selection.select(store))
    assert X.kept() is X  # float32
    halves = made(tmp_path / "halves", range(300), shard_rows=50, stored="float16")
    X = on_disk.DiskFeatures(halves, np.arange(0, 300, 3), feature_selection.select(halves))
    X = X.with_transform(lambda block: block + 1)
    kept, expected = X.kept(), np.asarray(X)
    monkeypatch.setattr(FeatureStore, "load_items", None)  # not read again
    np.testing.assert_array_equal(kept[5:9], expected[5:9])
    np.testing.assert_array_equal(kept[np.array([3, 1])], expected[[3, 1]])
    assert kept[:1].dtype == np.float32
    monkeypatch.undo()
    np.testing.assert_array_equal(kept.take(np.array([7]))[:], expected[7:8])
    monkeypatch.setattr(on_disk, "KEPT_BYTES", 100)
    assert X.kept() is X


@pytest.mark.parametrize(("step", "released"), [(1, 1), (5, 5)])
def test_pages_between_items_that_lie_apart_count_as_read(store, monkeypatch, step, released):
    monkeypatch.setattr(on_disk, "RELEASE_BYTES", store.load().astype(np.float32).nbytes // 6)
    releases = []
    monkeypatch.setattr(FeatureStore, "release", lambda self: releases.append(self))
    X = on_disk.DiskFeatures(store, np.arange(0, 300, step), feature_selection.select(store))
    for start in range(0, len(X), 12):  # of every fifth item 12 lie in 60 rows, a fifth of all
        X[start : start + 12]
        if start == 48:
            break
    assert len(releases) == released


def store_with_tests(store: FeatureStore) -> FeatureStore:
    """The same store as if its last items were test, of two classes."""
    splits = np.array(["train"] * 250 + ["test"] * 50)
    store.index.splits[:] = splits.astype(bytes)
    store.__dict__["splits"] = splits.astype(object)
    store.__dict__["labels"] = np.array(["a", "b"] * 150, object)
    return store
