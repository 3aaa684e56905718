import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from icebox.pipeline.comparison import statistics


@pytest.mark.parametrize(("right", "n"), [(0, 5), (3, 5), (5, 5), (391, 397)])
def test_the_interval_is_that_of_scipy(right: int, n: int):
    expected = stats.binomtest(right, n).proportion_ci(method="wilson")
    assert statistics.interval(right / n, n) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_no_items_leave_everything_open():
    assert statistics.interval(0.0, 0) == (0.0, 1.0)


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
def test_holms_correction_is_that_of_statsmodels(p_values: list[float]):
    expected = multipletests(p_values, method="holm")[1].tolist() if p_values else []
    assert statistics.holm(p_values) == pytest.approx(expected)


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
        called += min(statistics.holm(p_values)) < 0.05
    assert called / 1000 <= 0.05
