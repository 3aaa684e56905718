"""Maps, neighbours and suspected labels of features drawn here: three well-parted heaps of 60 items."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from icebox.pipeline.exploration import explore

LABELS = np.arange(180) % 3
ALONE = np.arange(180)


@pytest.fixture
def features() -> np.ndarray:
    random = np.random.default_rng(0)
    centres = random.normal(0, 4, (3, 20))
    return (centres[LABELS] + random.normal(size=(180, 20))).astype(np.float16)


def test_near_train_items_are_those_of_scikit_learn_by_cosine(features: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(explore, "BLOCK", 7)
    places, cosines = explore.nearest(features[:40], features[40:])
    found = NearestNeighbors(n_neighbors=3, metric="cosine").fit(features[40:].astype(np.float32))
    distances, expected = found.kneighbors(features[:40].astype(np.float32))
    assert (places == expected).mean() > 0.99  # float32 may swap equally near ones
    assert cosines == pytest.approx(1 - distances, abs=1e-5)


def test_a_train_of_two_items_has_two_near_ones(features: np.ndarray):
    assert explore.nearest(features[:5], features[:2])[0].shape == (5, 2)


def test_maps_are_the_same_each_time_and_keep_heaps_apart(features: np.ndarray):
    components = explore.reduced(features, seed=0)
    maps = explore.placed(components, seed=0)
    again = explore.placed(explore.reduced(features, seed=0), seed=0)
    for method in ("tsne", "pca"):
        points = maps[method]
        assert (points == again[method]).all()
        assert (points.min(), points.max()) == (0, 1000)
        centres = np.array([points[c == LABELS].mean(axis=0) for c in range(3)])
        closest = np.linalg.norm(points[:, None] - centres, axis=2).argmin(axis=1)
        assert (closest == LABELS).mean() > 0.98


@pytest.mark.parametrize("n", [1, 3, 4, 9])
def test_few_items_have_a_map_all_the_same(features: np.ndarray, n: int):
    for points in explore.placed(explore.reduced(features[:n], seed=0), seed=0).values():
        assert points.shape == (n, 2)


def test_a_sample_is_in_order_and_the_same_each_time():
    found = explore.sample(ALONE, 10, seed=0)
    assert (np.sort(found) == found).all()
    assert (explore.sample(ALONE, 10, seed=0) == found).all()
    assert explore.sample(ALONE, 500, seed=0) is ALONE


def test_planted_label_errors_are_suspected_and_hardly_any_other(features: np.ndarray):
    planted = np.arange(0, 180, 20)
    given = LABELS.copy()
    given[planted] = (given[planted] + 1) % 3
    components = explore.reduced(features, seed=0)
    found = explore.suspects(explore.out_of_fold(components, given, ALONE, seed=0), given, ["a", "b", "c"])
    assert {suspect.item for suspect in found} <= set(planted.tolist())
    assert len(found) >= 7  # of 9
    for suspect in found:
        assert suspect.suggested == "abc"[LABELS[suspect.item]]
        assert suspect.confidence > suspect.of_label


def test_a_head_that_knows_nothing_suspects_nothing():
    random = np.random.default_rng(0)
    probabilities = explore.out_of_fold(random.normal(size=(180, 5)), LABELS, ALONE, seed=0)
    assert explore.suspects(probabilities, LABELS, ["a", "b", "c"]) == []


def test_no_item_is_judged_by_its_own_group(features: np.ndarray):
    """Twins under two labels: with its twin in train, each would be told the other's."""
    twins = np.repeat(np.random.default_rng(0).normal(size=(60, 5)), 2, axis=0)
    labels = np.tile([0, 1], 60)
    apart = explore.out_of_fold(twins, labels, np.arange(120) // 2, seed=0)
    assert abs(apart[:, 0] - 0.5).mean() < 0.2
