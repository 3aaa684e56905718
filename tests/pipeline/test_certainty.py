import pytest
from scipy import stats

from pipeline import certainty


@pytest.mark.parametrize(("right", "n"), [(0, 5), (3, 5), (5, 5), (391, 397)])
def test_the_interval_is_that_of_scipy(right: int, n: int):
    expected = stats.binomtest(right, n).proportion_ci(method="wilson")
    assert certainty.interval(right / n, n) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_no_items_leave_everything_open():
    assert certainty.interval(0.0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (5, 5), (12, 3), (3, 12), (2000, 1500)])
def test_the_sign_test_is_scipys_binomial_test(wins: int, losses: int):
    expected = stats.binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert certainty.sign_test(wins, losses) == pytest.approx(expected)


def test_equal_values_share_a_rank_and_missing_ones_have_none():
    assert certainty.ranks([0.9, 0.8, 0.8, 0.7, None, None]) == ["1", "2=", "2=", "4", "–", "–"]
