"""Maps and neighbors of features drawn here: three well-parted heaps of 60 items."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from icebox.pipeline.exploration import feature_space

LABELS = np.arange(180) % 3
ALONE = np.arange(180)


@pytest.fixture
def features() -> np.ndarray:
    random = np.random.default_rng(0)
    centres = random.normal(0, 4, (3, 20))
    return (centres[LABELS] + random.normal(size=(180, 20))).astype(np.float16)


def test_near_train_items_are_those_of_scikit_learn_by_cosine(features: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(feature_space, "BLOCK_ROWS", 7)
    places, cosines = feature_space.nearest_neighbors(features[:40], features[40:])
    found = NearestNeighbors(n_neighbors=3, metric="cosine").fit(features[40:].astype(np.float32))
    distances, expected = found.kneighbors(features[:40].astype(np.float32))
    assert (places == expected).mean() > 0.99  # float32 may swap equally near ones
    assert cosines == pytest.approx(1 - distances, abs=1e-5)


def test_a_train_of_two_items_has_two_near_ones(features: np.ndarray):
    assert feature_space.nearest_neighbors(features[:5], features[:2])[0].shape == (5, 2)


def test_maps_are_the_same_each_time_and_keep_heaps_apart(features: np.ndarray):
    components = feature_space.principal_components(features, seed=0)
    maps = feature_space.maps(components, seed=0)
    again = feature_space.maps(feature_space.principal_components(features, seed=0), seed=0)
    for method in ("tsne", "pca"):
        points = maps[method]
        assert (points == again[method]).all()
        assert (points.min(), points.max()) == (0, 1000)
        centres = np.array([points[c == LABELS].mean(axis=0) for c in range(3)])
        closest = np.linalg.norm(points[:, None] - centres, axis=2).argmin(axis=1)
        assert (closest == LABELS).mean() > 0.98


@pytest.mark.parametrize("n", [1, 3, 4, 9])
def test_few_items_have_a_map_all_the_same(features: np.ndarray, n: int):
    for points in feature_space.maps(feature_space.principal_components(features[:n], seed=0), seed=0).values():
        assert points.shape == (n, 2)


def test_a_sample_is_in_order_and_the_same_each_time():
    found = feature_space.sample(ALONE, 10, seed=0)
    assert (np.sort(found) == found).all()
    assert (feature_space.sample(ALONE, 10, seed=0) == found).all()
    assert feature_space.sample(ALONE, 500, seed=0) is ALONE


def test_items_that_cannot_be_told_apart_lie_at_one_point_and_have_no_tsne():
    components = feature_space.principal_components(np.full((40, 5), 0.3, np.float16), seed=0)
    assert {name: points.tolist() for name, points in feature_space.maps(components, seed=0).items()} == {
        "pca": [[0, 0]] * 40
    }
