"""The bootstrap and the flip test against scikit-learn, scipy, and many synthetic comparisons."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from icebox.pipeline.comparison import bootstrap, statistics
from icebox.pipeline.evaluation.metrics import METRICS
from icebox.pipeline.evaluation.sample import Sample

ALONE = np.arange(40)


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(1)


def accuracies(right: np.ndarray, units: np.ndarray, **options: int) -> np.ndarray:
    sample = Sample(np.ones(len(right), int), right.astype(int), 2)
    return bootstrap.resample([METRICS["accuracy"]], sample, units, **options)[0]


def test_a_group_is_drawn_as_a_whole():
    units = np.array([0, 0, 0, 1, 1, 2])
    (weights,) = bootstrap.draw_weights(units, 50, 0)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 3] == weights[:, 4]).all()
    assert (weights[:, [0, 3, 5]].sum(axis=1) == 3).all()


def test_the_interval_is_near_that_of_scipys_bootstrap(random: np.random.Generator):
    errors = random.normal(size=200)
    expected = stats.bootstrap(
        (errors,), lambda e: np.sqrt(np.mean(e**2)), method="percentile", rng=0, vectorized=False
    )
    sample = Sample(np.zeros(200), errors)
    found = bootstrap.percentile_interval(bootstrap.resample([METRICS["rmse"]], sample, np.arange(200))[0], 200)
    assert found == pytest.approx(expected.confidence_interval, abs=0.01)


def test_blocks_do_not_change_how_many_are_drawn(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bootstrap, "BLOCK", 90)
    assert accuracies(ALONE > 3, ALONE, draws=7).shape == (7,)


def test_the_flip_test_is_mcnemars_where_items_are_alone():
    differences = np.array([1] * 12 + [-1] * 4 + [0] * 24)
    exact = stats.binomtest(4, 16).pvalue
    assert bootstrap.flip_test(differences, ALONE) == pytest.approx(exact, abs=0.01)
    assert bootstrap.flip_test(np.zeros(40), ALONE) == 1


def test_the_flip_test_is_scipys_permutation_test(random: np.random.Generator):
    differences = random.normal(0.3, 1, 12)
    exact = stats.permutation_test((differences,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert bootstrap.flip_test(differences, np.arange(12)) == pytest.approx(exact.pvalue, abs=0.01)


def test_the_swap_test_of_accuracy_is_the_flip_test_and_mcnemars():
    wins, losses = np.arange(40) < 12, np.arange(40) >= 36
    one, other = (Sample(np.ones(40, int), right.astype(int), 2) for right in (~losses, ~wins))
    found = bootstrap.swap_test(METRICS["accuracy"], one, other, ALONE)
    assert found == pytest.approx(stats.binomtest(4, 16).pvalue, abs=0.01)
    assert bootstrap.swap_test(METRICS["accuracy"], one, one, ALONE) == 1


@pytest.mark.parametrize("metric", ["f1_macro", "balanced_accuracy"])
def test_the_swap_test_calls_heads_that_err_alike_different_in_5_percent(metric: str, random: np.random.Generator):
    called = 0
    for seed in range(400):
        labels = random.choice(3, 80, p=[0.7, 0.2, 0.1])
        one, other = (np.where(random.random(80) < 0.75, labels, random.integers(0, 3, 80)) for _ in range(2))
        samples = (Sample(labels, predicted, 3) for predicted in (one, other))
        called += bootstrap.swap_test(METRICS[metric], *samples, np.arange(80), swaps=199, seed=seed) <= 0.05
    assert 0.02 <= called / 400 <= 0.08


def test_the_swap_test_exchanges_whole_groups():
    """Of four groups one head is right of all, of the others none: 2 of the 16 exchanges are as far apart."""
    labels, units = np.arange(40) % 2, np.arange(40) // 10
    one, other = Sample(labels, labels, 2), Sample(labels, 1 - labels, 2)
    assert bootstrap.swap_test(METRICS["f1_macro"], one, other, units) == pytest.approx(2 / 2**4, abs=0.02)
    assert bootstrap.swap_test(METRICS["f1_macro"], one, other, np.arange(40)) < 0.001


def test_groups_that_answer_alike_count_once():
    differences, units = np.ones(40), np.arange(40) // 10
    assert bootstrap.flip_test(differences, units) == pytest.approx(2 / 2**4, abs=0.02)  # four coins, not forty


def test_accuracy_intervals_cover_95_percent_of_synthetic_tests(random: np.random.Generator):
    covered = 0
    for seed in range(1000):
        right = random.random(300) < 0.85
        low, high = bootstrap.percentile_interval(accuracies(right, np.arange(300), draws=500, seed=seed), 300)
        covered += low <= 0.85 <= high
    assert 0.93 <= covered / 1000 <= 0.97


@pytest.mark.slow
def test_intervals_of_paired_differences_cover_95_percent(random: np.random.Generator):
    """Two heads with 0.85 and 0.80 whose answers hang together."""
    covered = 0
    for seed in range(1000):
        hard = random.random(300)
        one, other = (hard + random.normal(0, 0.1, 300) < level for level in (0.85, 0.80))
        first, second = (accuracies(each, np.arange(300), draws=500, seed=seed) for each in (one, other))
        low, high = bootstrap.percentile_interval(first - second, 300)
        covered += low <= TRUE_DIFFERENCE <= high
    assert 0.93 <= covered / 1000 <= 0.97


# of P(U + N(0, 0.1) < level) for U uniform: the expectation of clipping level - noise to 0..1
NOISE = stats.norm(0, 0.1)
POINTS = NOISE.ppf((np.arange(100_000) + 0.5) / 100_000)
TRUE_DIFFERENCE = float(np.mean(np.clip(0.85 - POINTS, 0, 1) - np.clip(0.80 - POINTS, 0, 1)))


def test_few_units_widen_the_interval_as_students_t_does():
    values = np.random.default_rng(0).normal(size=100_000)
    for units in (5, 20, 400):
        expected = np.sqrt(units / (units - 1)) * stats.t(units - 1).ppf(0.975)
        assert bootstrap.percentile_interval(values, units) == pytest.approx((-expected, expected), rel=0.03)
    assert bootstrap.percentile_interval(values, 1) == (values.min(), values.max())


def test_intervals_of_macro_f1_cover_95_percent(random: np.random.Generator):
    """200 items of three classes, of which one is rare."""
    often, confusion = np.array([0.6, 0.3, 0.1]), np.array([[0.9, 0.06, 0.04], [0.15, 0.8, 0.05], [0.2, 0.2, 0.6]])
    counts = confusion * often[:, None]
    true_f1 = np.mean(2 * counts.diagonal() / (counts.sum(axis=0) + counts.sum(axis=1)))
    covered = 0
    for seed in range(1000):
        labels = random.choice(3, 200, p=often)
        predicted = (random.random(200)[:, None] > confusion[labels].cumsum(axis=1)).sum(axis=1)
        drawn = bootstrap.resample(
            [METRICS["f1_macro"]], Sample(labels, predicted, 3), np.arange(200), draws=400, seed=seed
        )
        low, high = bootstrap.percentile_interval(drawn[0], 200)
        covered += low <= true_f1 <= high
    assert 0.93 <= covered / 1000 <= 0.97


def contaminated(share: float) -> Any:
    """Normal errors, a share of which is three times as large."""

    class Contaminated:
        def rvs(self, size: tuple[int, int], random_state: np.random.Generator) -> np.ndarray:
            return random_state.normal(size=size) * np.where(random_state.random(size) < share, 3, 1)

    return Contaminated()


@pytest.mark.parametrize(
    ("n", "errors", "true"),
    [
        (50, stats.uniform(-1, 2), np.sqrt(1 / 3)),
        (20, stats.norm, 1),
        (50, stats.norm, 1),
        (400, stats.norm, 1),
        (50, stats.laplace, np.sqrt(2)),
        (50, stats.t(5), np.sqrt(5 / 3)),
        (50, stats.t(4), np.sqrt(2)),
        (200, stats.t(4), np.sqrt(2)),
        (50, contaminated(0.1), np.sqrt(1.8)),
        (100, contaminated(0.1), np.sqrt(1.8)),
        (50, contaminated(0.05), np.sqrt(1.4)),
        (50, contaminated(0.2), np.sqrt(2.6)),
    ],
)
@pytest.mark.slow
def test_intervals_of_errors_cover_95_percent(n: int, errors: Any, true: float, random: np.random.Generator):
    """Light tails and heavy ones; of errors that are told by nothing in many a sample, too."""
    ends = [bootstrap.rmse_interval(drawn, np.arange(n)) for drawn in errors.rvs(size=(2500, n), random_state=random)]
    covered = np.mean([low <= true <= high for low, high in ends])
    assert 0.93 <= covered <= 0.97


def test_the_interval_of_many_normal_errors_is_the_chi_squared_one(random: np.random.Generator):
    errors = random.normal(0, 3, size=2000)
    sum_of_squares = float((errors**2).sum())
    expected = np.sqrt(sum_of_squares / stats.chi2(2000).ppf([0.975, 0.025]))
    assert bootstrap.rmse_interval(errors, np.arange(2000)) == pytest.approx(tuple(expected), rel=0.01)


def test_errors_that_come_in_groups_are_no_surer_than_their_groups(random: np.random.Generator):
    of_group = random.normal(size=40)
    alone = bootstrap.rmse_interval(of_group, np.arange(40))
    assert bootstrap.rmse_interval(np.repeat(of_group, 5), np.arange(200) // 5) == pytest.approx(alone)


def test_errors_without_spread_have_an_interval_without_width():
    assert bootstrap.rmse_interval(np.zeros(20), np.arange(20)) == (0, 0)
    assert bootstrap.rmse_interval(np.full(20, -2.0), np.arange(20)) == pytest.approx((2, 2))
    assert bootstrap.rmse_interval(np.full(3, -2.0), np.arange(3)) == pytest.approx((2, 2))
    low, high = bootstrap.rmse_interval(np.array([5.0] + [0.0] * 19), np.arange(20))  # many draws are all 0
    assert 0 <= low < np.sqrt(25 / 20) < high < np.inf


def test_closed_forms_cover_near_both_ends(random: np.random.Generator):
    """Two heads with 0.99 and 0.985 on 200 items: the bootstrap of a head without mistakes would have no width."""
    right = random.binomial(200, 0.99, 4000)
    closed = [statistics.proportion_interval(r / 200, 200) for r in right]
    assert 0.93 <= np.mean([low <= 0.99 <= high for low, high in closed]) <= 0.99
    wins, losses, _ = random.multinomial(200, (0.01, 0.005, 0.985), 4000).T
    paired = [statistics.paired_interval(w, lost, 200) for w, lost in zip(wins, losses, strict=True)]
    assert np.mean([low <= 0.005 <= high for low, high in paired]) >= 0.94  # wider than need be, never narrower
