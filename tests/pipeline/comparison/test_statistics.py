import numpy as np
import pytest
from scipy import stats
from sklearn.model_selection import StratifiedKFold
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from icebox.pipeline.comparison import statistics
from icebox.pipeline.data.multiple_testing import holm

BEST = [0.9, 0.8, 0.9, 0.9, 0.8]


@pytest.mark.parametrize(("right", "n"), [(0, 5), (3, 5), (5, 5), (391, 397)])
def test_the_interval_of_a_proportion_is_that_of_statsmodels(right: int, n: int):
    low, high = proportion_confint(right, n, method="agresti_coull")
    assert statistics.proportion_interval(right / n, n) == pytest.approx((max(low, 0), min(high, 1)), abs=1e-6)


@pytest.mark.parametrize("n", [20, 50, 100, 200, 500, 2000])
def test_intervals_of_proportions_cover_those_near_one_too(n: int):
    """Exactly, by summing the chances of all outcomes; Wilson's cover 0.9992 of 20 and 0.9983 of 100 in 84 %."""
    low, high = np.array([statistics.proportion_interval(right / n, n) for right in range(n + 1)]).T
    shares = np.linspace(0.5, 0.9999, 400)
    covered = [stats.binom.pmf(np.arange(n + 1), n, share)[(low <= share) & (share <= high)].sum() for share in shares]
    assert min(covered) >= 0.928
    assert np.mean(covered) <= 0.965
    assert min(np.array(covered)[(1 - shares) * n < 2]) >= 0.94


def test_no_items_leave_everything_open():
    assert statistics.proportion_interval(0.0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (5, 5), (12, 3), (3, 12), (2000, 1500)])
def test_the_sign_test_is_scipys_binomial_test(wins: int, losses: int):
    expected = stats.binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert statistics.sign_test(wins, losses) == pytest.approx(expected)


def test_equal_values_share_a_rank_and_missing_ones_have_none():
    assert statistics.ranks([0.9, 0.8, 0.8, 0.7, None, None]) == ["1", "2=", "2=", "4", "–", "–"]


@pytest.mark.parametrize(("wins", "losses"), [(3, 9), (0, 4), (20, 21)])
def test_the_sign_test_is_statsmodels_exact_mcnemar(wins: int, losses: int):
    assert statistics.sign_test(wins, losses) == pytest.approx(mcnemar([[70, wins], [losses, 5]], exact=True).pvalue)


@pytest.mark.parametrize("p_values", [[], [0.03], [0.01, 0.04, 0.03, 0.005], [0.5, 0.9, 0.02], [0.0, 1.0]])
@pytest.mark.slow
def test_holms_correction_is_that_of_statsmodels(p_values: list[float]):
    expected = multipletests(p_values, method="holm")[1].tolist() if p_values else []
    assert holm(p_values) == pytest.approx(expected)


def test_paired_intervals_are_those_of_bonett_and_price_by_hand():
    # 4 wins and 1 loss of 28: gain 5/30, loss 2/30, variance (7/30 - (3/30)^2) / 30
    half = 1.959964 * ((7 / 30 - 0.01) / 30) ** 0.5
    assert statistics.paired_interval(4, 1, 28) == pytest.approx((0.1 - half, 0.1 + half))
    assert statistics.paired_interval(0, 0, 50)[1] > 0  # no difference seen is not no difference


def test_with_folds_that_share_nothing_the_corrected_t_is_a_plain_one():
    differences = [0.01, 0.03, -0.01, 0.02, 0.02]
    assert statistics.corrected_t(differences, 0.0) == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)
    t = np.mean(differences) / np.sqrt((1 / 5 + 1 / 4) * np.var(differences, ddof=1))
    assert statistics.corrected_t(differences, 1 / 4) == pytest.approx(2 * stats.t(4).sf(t))
    assert statistics.corrected_t([0.0] * 5, 1 / 4) == 1
    assert statistics.corrected_t([0.1] * 5, 1 / 4) == 0


def test_the_items_needed_find_the_difference_four_times_of_five():
    wins, losses, n = 6, 2, 400
    needed = statistics.items_needed(wins, losses, n)
    assert needed is not None
    random = np.random.default_rng(0)
    drawn = random.multinomial(needed, (wins / n, losses / n, 1 - 8 / n), 2000)
    # the exact test asks for a little more than the formula's
    assert 0.75 < np.mean([statistics.sign_test(int(w), int(lost)) < 0.05 for w, lost, _ in drawn]) < 0.85
    assert statistics.items_needed(3, 3, 400) is None


def test_one_head_with_other_seeds_is_not_called_different():
    """1,000 comparisons of a head with nine of its own seeds: each right on its own items with the same chance."""
    random = np.random.default_rng(0)
    called = 0
    for _ in range(1000):
        chance = random.beta(8, 1, 400)
        right = random.random((10, 400)) < chance
        wins, losses = (right[0] & ~right[1:]).sum(axis=1), (~right[0] & right[1:]).sum(axis=1)
        p_values = [statistics.sign_test(int(w), int(lost)) for w, lost in zip(wins, losses, strict=True)]
        called += min(holm(p_values)) < 0.05
    assert called / 1000 <= 0.05


def test_each_is_compared_with_the_best_on_the_same_folds():
    found = statistics.compare_on_folds(
        [[0.8, 0.8, 0.9, 0.8, 0.8], BEST, None, [0.5, 0.4, 0.5, 0.4, 0.4]], [10] * 5, best=1
    )
    assert (found[1], found[2]) == (None, None)
    near, far = found[0], found[3]
    assert (near.difference, far.difference) == (pytest.approx(-0.04), pytest.approx(-0.42))
    differences = np.array([-0.1, 0, 0, -0.1, 0])
    t = differences.mean() / np.sqrt((1 / 5 + 1 / 4) * differences.var(ddof=1))
    assert near.p == pytest.approx(2 * stats.t(4).cdf(t))
    assert (near.p_holm, far.p_holm) == (near.p, pytest.approx(2 * far.p))


def test_without_the_bests_folds_nothing_is_compared():
    assert statistics.compare_on_folds([None, BEST], [10] * 5) == [None, None]
    assert statistics.compare_on_folds([None, None], []) == [None, None]


def centroids(features: np.ndarray, labels: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The nearer class mean of two."""
    means = np.stack([features[labels == label].mean(axis=0) for label in (0, 1)])
    return ((new[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)


@pytest.mark.slow
def test_equally_good_heads_are_called_different_by_chance_alone_where_a_plain_t_test_does_so_far_more_often():
    """1,000 datasets; one head sees the first half of the features and another the second, which know as much."""
    random = np.random.default_rng(0)
    labels = np.tile([0, 1], 40)
    folds = list(StratifiedKFold(10, shuffle=True, random_state=0).split(labels, labels))
    corrected = plain = 0
    for _ in range(1000):
        features = random.normal(size=(80, 16)) + 0.25 * labels[:, None]
        scores = [
            [(centroids(columns[on], labels[on], columns[judged]) == labels[judged]).mean() for on, judged in folds]
            for columns in (features[:, :8], features[:, 8:])
        ]
        differences = np.subtract(*scores)
        (_, found) = statistics.compare_on_folds(scores, [len(judged) for _, judged in folds])
        corrected += found.p < 0.05
        plain += differences.std() > 0 and stats.ttest_1samp(differences, 0).pvalue < 0.05
    assert corrected / 1000 <= 0.05 < plain / 1000


def test_a_difference_that_is_there_is_found():
    random = np.random.default_rng(0)
    worse = [score - 0.1 + noise for score, noise in zip(BEST, random.normal(0, 0.02, 5), strict=True)]
    (_, found) = statistics.compare_on_folds([BEST, worse], [100] * 5)
    assert found.p < 0.01
    assert statistics.corrected_t([0.0] * 5, 0.25) == 1


def test_the_interval_of_a_difference_is_newcombes():
    # Newcombe 1998, Statistics in Medicine 17, table II, (a): 56/70 − 48/80, method 10: 0.0524 … 0.3339
    first, second = (stats.binomtest(right, n).proportion_ci(method="wilson") for right, n in ((56, 70), (48, 80)))
    ends = statistics.difference_interval(56 / 70, (first.low, first.high), 48 / 80, (second.low, second.high))
    assert ends == pytest.approx((0.0524, 0.3339), abs=5e-5)
