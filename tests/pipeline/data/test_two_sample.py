"""The two-sample test calls sets of one place different as often as it says, and sets of two places nearly always."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from icebox.pipeline.data import two_sample


def features(n: int, d: int, seed: int, *, moved: float = 0.0) -> np.ndarray:
    """n items whose features hang together; with `moved`, the first tenth of them lies that far off."""
    random = np.random.default_rng(seed)
    rows = random.normal(0, 1, (n, d)) + random.normal(0, 1, (n, 1))
    rows[:, : max(1, d // 10)] += moved
    return rows.astype(np.float32)


def names(n: int, group_size: int = 1) -> list[str]:
    return [str(i // group_size) for i in range(n)]


def p_value(n: int, m: int, d: int, seed: int, *, moved: float = 0.0, group_size: int = 1) -> float:
    """The p-value of two sets; the items of a group are the same picture, all but for noise."""
    one, other = (features(k // group_size, d, seed + i, moved=moved * i) for i, k in ((0, n), (10**6, m)))
    random = np.random.default_rng(seed)
    one, other = (np.repeat(rows, group_size, axis=0) for rows in (one, other))
    noise = [random.normal(0, 0.1, rows.shape) for rows in (one, other)]
    found = two_sample.separation(
        one + noise[0], other + noise[1], names(len(one), group_size), names(len(other), group_size)
    )
    assert found is not None
    return found.p


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """One thread of BLAS: more wait for each other at products so small."""
    with threadpool_limits(1):
        yield


@pytest.mark.parametrize(("n", "m", "d", "group_size"), [(200, 60, 5, 1), (60, 60, 200, 1), (200, 200, 20, 5)])
@pytest.mark.slow
def test_sets_of_one_place_are_called_different_in_one_of_twenty(n, m, d, group_size):
    values = np.array([p_value(n, m, d, seed, group_size=group_size) for seed in range(60)])
    assert (values < 0.05).mean() <= 0.11  # 0.05 and two standard errors
    assert (values < 0.5).mean() <= 0.63


@pytest.mark.parametrize(("d", "moved"), [(5, 1.0), (200, 0.7)])
def test_sets_of_two_places_are_told_apart(d, moved):
    values = np.array([p_value(200, 100, d, seed, moved=moved) for seed in range(20)])
    assert (values < 0.05).mean() >= 0.9


def test_how_far_they_lie_is_a_share_of_pairs():
    one, far = features(300, 8, 0), features(300, 8, 1, moved=30.0)
    found = two_sample.separation(one, far, names(300), names(300))
    assert found is not None
    assert found.auc == pytest.approx(1.0)
    assert found.p < 1e-6
    same = two_sample.separation(one, features(300, 8, 2), names(300), names(300))
    assert same is not None
    assert 0.4 < same.auc < 0.6


def test_a_sample_of_many_items_is_enough_and_few_are_too_few():
    many = features(5000, 3, 0)
    found = two_sample.separation(many, many[:50], names(5000), names(50))
    assert found is not None
    assert found.n == 1000
    assert two_sample.separation(many, many[:19], names(5000), names(19)) is None
    assert two_sample.separation(many, many[:100], names(5000), names(100, group_size=10)) is None


def test_features_that_do_not_vary_tell_nothing():
    flat = np.ones((50, 4), np.float32)
    found = two_sample.separation(flat, flat, names(50), names(50))
    assert found is not None
    assert (found.auc, found.p) == pytest.approx((0.5, 1.0), abs=0.01)
