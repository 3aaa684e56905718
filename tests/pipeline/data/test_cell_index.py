"""Neighbours by cells against all compared with all."""

import numpy as np
import pytest

from icebox.pipeline.data.cell_index import CellIndex


def unit_points(n: int, d: int) -> np.ndarray:
    """Points of few dimensions bent into d."""
    random = np.random.default_rng(0)
    points = np.tanh(random.normal(size=(n, 10)) @ random.normal(size=(10, d)) / 3)
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float16)


def exact(points: np.ndarray, queries: np.ndarray, k: int, itself: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    similarities = queries.astype(np.float32) @ points.astype(np.float32).T
    if itself is not None:
        similarities[np.arange(len(queries)), itself] = -np.inf
    order = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(similarities, order, axis=1)


@pytest.mark.parametrize("alone", [True, False])
def test_nearly_all_neighbours_are_found(alone: bool) -> None:
    points = unit_points(6000, 32)
    itself = np.arange(0, 6000, 7) if alone else None
    queries = points[::7] if alone else unit_points(6500, 32)[6000:]
    positions, similarities = CellIndex.build(points).nearest(queries, 5, itself=itself)
    expected, best = exact(points, queries, 5, itself)
    assert np.mean([len(set(a) & set(b)) for a, b in zip(positions, expected, strict=True)]) > 0.97 * 5
    assert (np.diff(similarities, axis=1) <= 0).all()
    assert (similarities[:, 0] <= best[:, 0] + 1e-6).all()
    if alone:
        assert not (positions == itself[:, None]).any()


def test_blocks_change_nothing_and_the_result_is_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    points = unit_points(3000, 16)
    positions, _ = CellIndex.build(points).nearest(points[:500], 4)
    monkeypatch.setattr("icebox.pipeline.data.cell_index.BLOCK_QUERIES", 111)
    monkeypatch.setattr("icebox.pipeline.data.cell_index.HITS_MAX", 2000)
    again, _ = CellIndex.build(points).nearest(points[:500], 4)
    np.testing.assert_array_equal(np.sort(positions), np.sort(again))


def test_few_points_and_equal_ones() -> None:
    points = np.ones((3, 4), np.float16)
    positions, similarities = CellIndex.build(points).nearest(points, 5, itself=np.arange(3))
    assert [sorted(row[:2].tolist()) for row in positions] == [[1, 2], [0, 2], [0, 1]]
    assert (positions[:, 2:] == -1).all()
    assert np.isneginf(similarities[:, 2:]).all()
