"""Significance over predictions drawn here: many heads that are all the same, some that are not, and numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from icebox.pipeline.comparison import bootstrap, significance
from icebox.pipeline.comparison.leaderboard import LeaderboardEntry
from icebox.pipeline.comparison.test_predictions import (
    ClassificationPredictions,
    RegressionPredictions,
    SplitPredictions,
)
from icebox.pipeline.evaluation.metrics import METRICS


def entry(scores: dict[str, float], metric: str) -> LeaderboardEntry:
    no: dict[str, Any] = {}
    return LeaderboardEntry("d", "b", "s", "h", scores, scores, no, no, 0.1, 0.1, 10, 1, no, METRICS[metric])


def predictions(right: np.ndarray, first: int = 0) -> ClassificationPredictions:
    """Two classes, all of the first; ids count from `first`."""
    ids = [f"t-{first + i:04}" for i in range(len(right))]
    n = len(right)
    return ClassificationPredictions(["a", "b"], ids, np.zeros(n, int), (~right).astype(int), np.ones(n), "margin")


def scores(one: SplitPredictions) -> dict[str, float]:
    known = [each for each in METRICS.values() if each.interval and each.is_defined(one.sample)]
    return {"n": len(one.item_ids)} | {each.name: float(each.function(one.sample)) for each in known}


def assess(split_predictions: Sequence[SplitPredictions], metric: str = "") -> list[significance.Significance]:
    metric = metric or ("rmse" if isinstance(split_predictions[0], RegressionPredictions) else "accuracy")
    entries = [entry(scores(one), metric) for one in split_predictions]
    return significance.assess(entries, list(split_predictions))


@pytest.fixture(autouse=True)
def fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals are not looked at where many tables are made."""
    monkeypatch.setattr(significance.draw_metrics, "__kwdefaults__", {"draws": 100, "seed": 0})


@pytest.mark.slow
def test_one_head_under_other_seeds_is_hardly_ever_called_different():
    random = np.random.default_rng(0)
    called = 0
    for _ in range(200):
        chance = random.beta(6, 1, 200)
        found = assess([predictions(random.random(200) < chance) for _ in range(6)])
        called += any(each.verdict not in ("best", "tied") for each in found)
    assert called / 200 <= 0.05


@pytest.mark.parametrize(("patients", "pictures", "share"), [(60, 5, 0.7), (30, 10, 0.5), (30, 10, 0.8)])
@pytest.mark.slow
def test_intervals_cover_where_items_come_in_groups(patients: int, pictures: int, share: float):
    """All pictures of a patient are right or wrong together: single items would cover two of three."""
    random, units, covered = np.random.default_rng(0), np.arange(patients).repeat(pictures), 0
    for seed in range(1000):
        one = predictions((random.random(patients) < share).repeat(pictures))
        draws = significance.draw_metrics(one.sample, units, draws=400, seed=seed)
        low, high = significance.intervals(one.sample, draws, units)["accuracy"]
        covered += low <= share <= high
    assert 0.93 <= covered / 1000 <= 0.99  # fewer than ten patients right or wrong: wider than need be


def test_heads_that_err_alike_on_groups_are_hardly_ever_called_different():
    """1,000 comparisons of two heads on 40 patients with 5 pictures each, of which one or the other is right."""
    random, units, called = np.random.default_rng(0), np.arange(40).repeat(5), 0
    for _ in range(1000):
        one, other = (random.random(40) < 0.7).repeat(5), (random.random(40) < 0.7).repeat(5)
        called += bootstrap.flip_test(one.astype(float) - other, units, flips=999) < 0.05
    assert called / 1000 <= 0.06  # 5 % and what chance adds in 1,000


def test_a_head_that_is_worse_is_called_so_and_one_that_beats_the_best_on_val_better():
    easy = np.arange(300)
    found = assess(
        [predictions(easy % 10 > 1), predictions(easy % 10 > 4), predictions(easy % 10 > 1), predictions(easy % 20 > 0)]
    )
    assert [each.verdict for each in found] == ["best", "worse", "tied", "better"]
    assert found[2].comparison is not None
    assert found[2].comparison.p == 1


def test_heads_are_compared_on_the_items_that_all_of_them_saw():
    found = assess([predictions(np.arange(100) > 20), predictions(np.arange(50) % 2 > 0, first=40)])
    assert found[1].comparison is not None
    assert (found[1].comparison.n, found[1].comparison.difference) == (50, -0.5)


def test_a_head_without_mistakes_is_not_sure_to_make_none():
    found = assess([predictions(np.ones(30, bool)), predictions(np.ones(30, bool))])
    assert found[0].intervals["accuracy"] == (pytest.approx(0.865, abs=1e-3), 1.0)
    assert found[1].comparison is not None
    assert found[1].comparison.intervals["accuracy"][0] < 0 < found[1].comparison.intervals["accuracy"][1]


def test_a_regression_is_compared_by_its_errors_and_smaller_ones_are_better():
    random = np.random.default_rng(0)
    truth, noise = random.normal(size=200), random.normal(size=200)
    split_predictions = [
        RegressionPredictions([f"{i:03}" for i in range(200)], truth, truth + noise * size)
        for size in (0.5, 0.9, 0.1, 0.5)
    ]
    found = assess(split_predictions)
    assert [each.verdict for each in found] == ["best", "worse", "better", "tied"]
    assert found[1].comparison is not None
    assert found[1].comparison.intervals["rmse"][0] > 0


def test_what_is_tested_is_what_chooses():
    """Always answering the common class beats a head by accuracy, and loses by macro-F1 and balanced accuracy."""
    labels = np.repeat([0, 1], [180, 20])
    ids = [f"{i:03}" for i in range(200)]
    wrong = np.arange(200) % 6 == 0
    constant, careful = (
        ClassificationPredictions(["a", "b"], ids, labels, predicted, np.ones(200), "margin")
        for predicted in (np.zeros(200, int), np.where(wrong, 1 - labels, labels))
    )
    found = {name: assess([careful, constant], name)[1] for name in ("accuracy", "f1_macro", "balanced_accuracy")}
    assert {name: each.verdict for name, each in found.items()} == {
        "accuracy": "tied",
        "f1_macro": "worse",
        "balanced_accuracy": "worse",
    }
    for name, each in found.items():
        assert each.comparison is not None
        score, best = (float(METRICS[name].function(one.sample)) for one in (constant, careful))
        assert each.comparison.difference == pytest.approx(score - best)
        low, high = each.comparison.intervals[name]
        assert low < each.comparison.difference < high
        assert each.intervals[name][0] <= score <= each.intervals[name][1]


def test_log_loss_is_tested_where_heads_have_probabilities_and_others_stay_unknown():
    random = np.random.default_rng(0)
    ids, labels = [f"{i:03}" for i in range(200)], random.integers(0, 2, 200)
    sure, unsure = (
        ClassificationPredictions(["a", "b"], ids, labels, labels, np.ones(200), "confidence", np.full(200, p))
        for p in (0.9, 0.6)
    )
    without = ClassificationPredictions(["a", "b"], ids, labels, labels, np.ones(200), "margin")
    found = assess([sure, unsure, without, sure], "log_loss")
    assert [each.verdict for each in found] == ["best", "worse", "unknown", "tied"]
    assert found[1].comparison is not None
    assert found[1].comparison.difference == pytest.approx(np.log(0.9 / 0.6))
    assert "log_loss" not in found[2].intervals


@pytest.mark.parametrize("size", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize("metric", ["rmse", "mae", "r2"])
def test_verdicts_on_numbers_do_not_depend_on_their_unit(metric: str, size: float):
    random = np.random.default_rng(0)
    truth, noise = random.normal(size=100) * size, random.normal(size=100) * size
    splits = [RegressionPredictions([f"{i:03}" for i in range(100)], truth, truth + noise * e) for e in (0.2, 0.3, 0.2)]
    assert [each.verdict for each in assess(splits, metric)] == ["best", "worse", "tied"]


def test_without_predictions_of_the_best_nothing_is_compared():
    one = predictions(np.arange(20) > 3)
    found = significance.assess([entry({"n": 20, "accuracy": 0.8}, "accuracy")] * 2, [None, one])
    assert [(each.verdict, each.comparison) for each in found] == [("best", None), ("unknown", None)]
