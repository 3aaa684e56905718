import numpy as np
import pytest
from scipy import stats
from sklearn.model_selection import StratifiedKFold

from icebox.pipeline.comparison import fold_tests, statistics

BEST = [0.9, 0.8, 0.9, 0.9, 0.8]


def test_each_is_compared_with_the_best_on_the_same_folds():
    found = fold_tests.compared([[0.8, 0.8, 0.9, 0.8, 0.8], BEST, None, [0.5, 0.4, 0.5, 0.4, 0.4]], [10] * 5, best=1)
    assert (found[1], found[2]) == (None, None)
    near, far = found[0], found[3]
    assert (near.difference, far.difference) == (pytest.approx(-0.04), pytest.approx(-0.42))
    differences = np.array([-0.1, 0, 0, -0.1, 0])
    t = differences.mean() / np.sqrt((1 / 5 + 1 / 4) * differences.var(ddof=1))
    assert near.p == pytest.approx(2 * stats.t(4).cdf(t))
    assert (near.p_holm, far.p_holm) == (near.p, pytest.approx(2 * far.p))


def test_without_the_bests_folds_nothing_is_compared():
    assert fold_tests.compared([None, BEST], [10] * 5) == [None, None]
    assert fold_tests.compared([None, None], []) == [None, None]


def centroids(features: np.ndarray, labels: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The nearer class mean of two."""
    means = np.stack([features[labels == label].mean(axis=0) for label in (0, 1)])
    return ((new[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)


def test_equally_good_heads_are_called_different_by_chance_alone_where_a_plain_t_test_does_so_far_more_often():
    """1,000 datasets; one head sees the first half of the features and another the second, which know as much."""
    random = np.random.default_rng(0)
    labels = np.tile([0, 1], 40)
    folds = list(StratifiedKFold(10, shuffle=True, random_state=0).split(labels, labels))
    corrected = plain = 0
    for _ in range(1000):
        features = random.normal(size=(80, 16)) + 0.25 * labels[:, None]
        scores = [
            [(centroids(seen[on], labels[on], seen[judged]) == labels[judged]).mean() for on, judged in folds]
            for seen in (features[:, :8], features[:, 8:])
        ]
        differences = np.subtract(*scores)
        (_, found) = fold_tests.compared(scores, [len(judged) for _, judged in folds])
        corrected += found.p < 0.05
        plain += differences.std() > 0 and stats.ttest_1samp(differences, 0).pvalue < 0.05
    assert corrected / 1000 <= 0.05 < plain / 1000


def test_a_difference_that_is_there_is_found():
    random = np.random.default_rng(0)
    worse = [score - 0.1 + noise for score, noise in zip(BEST, random.normal(0, 0.02, 5), strict=True)]
    (_, found) = fold_tests.compared([BEST, worse], [100] * 5)
    assert found.p < 0.01
    assert statistics.corrected_t([0.0] * 5, 0.25) == 1
