"""Statistical significance on the leaderboard: each entry's intervals, and its paired difference to the best on val.

The best on val is the reference, so that test chooses nothing. An entry that Holm's correction can't tell from it is
tied, whatever its rank.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from icebox.features.manifest import manifest
from icebox.pipeline.comparison import bootstrap, statistics, test_predictions
from icebox.pipeline.comparison.leaderboard import LeaderboardEntry
from icebox.pipeline.comparison.statistics import Interval
from icebox.pipeline.comparison.test_predictions import ClassificationPredictions, SplitPredictions
from icebox.pipeline.evaluation import metrics
from icebox.pipeline.evaluation.metrics import METRICS, Metric
from icebox.pipeline.evaluation.sample import Sample
from icebox.pipeline.project import paths

ALPHA = 0.05

Draws = dict[str, np.ndarray]  # by metric: its value on each draw (b,)
Verdict = Literal["best", "tied", "better", "worse", "unknown"]


@dataclass(frozen=True)
class PairedComparison:
    """An entry against the best on val, on the n test items that both were scored on.

    `difference` is its score less the best's, by the metric that heads are compared by; `intervals` are the 95 %
    intervals of the differences, by metric. `wins` and `losses` are the items that only it, or only the best, got right
    (None in a regression); `p` is of exact McNemar, or of a flip test where items come in groups or are numbers, as
    `test` says.
    """

    difference: float
    intervals: dict[str, Interval]
    test: Literal["exact McNemar", "flip test"]
    p: float
    p_holm: float
    n: int
    wins: int | None
    losses: int | None


@dataclass(frozen=True)
class Significance:
    """The 95 % intervals of an entry's test scores, by metric, and its comparison to the best."""

    intervals: dict[str, Interval]
    comparison: PairedComparison | None
    verdict: Verdict


def assess(entries: Sequence[LeaderboardEntry], predictions: Sequence[SplitPredictions | None]) -> list[Significance]:
    """The significance of each of one dataset's entries, best on val first; `predictions` are theirs for test.

    Predictions that are not on this machine (None) leave no difference, and no interval but the closed form of a
    proportion. Entries are compared on the items that all predictions hold, since a store may have skipped some.
    """
    results = [Significance(closed_form(entry), None, "unknown") for entry in entries]
    item_ids = common_items(predictions)
    present = {i: restrict(each, item_ids) for i, each in enumerate(predictions) if each and item_ids}
    if present:
        units = units_of(next(iter(present.values())).item_ids, groups_of(entries[0].dataset))
        draws = {i: draw_metrics(each.sample, units) for i, each in present.items()}
        for i, each in present.items():
            comparison = (
                compare(each.sample, present[0].sample, draws[i], draws[0], units) if i and 0 in present else None
            )
            results[i] = Significance(intervals(each.sample, draws[i], units), comparison, "unknown")
    if results:
        results[0] = replace(results[0], verdict="best")
    return with_verdicts(results, greater_is_better=bool(entries) and entries[0].metric.greater_is_better)


def closed_form(entry: LeaderboardEntry) -> dict[str, Interval]:
    """The interval that a proportion and its number of items suffice for."""
    if entry.metric.interval != "proportion":
        return {}
    return {entry.metric.name: statistics.wilson_interval(entry.score, int(entry.test["n"]))}


def common_items(predictions: Sequence[SplitPredictions | None]) -> set[str]:
    """The ids of the items that all predictions hold."""
    sets = [set(each.item_ids) for each in predictions if each]
    return set.intersection(*sets) if sets else set()


def with_verdicts(results: list[Significance], *, greater_is_better: bool) -> list[Significance]:
    """The results with Holm's p-values, and the verdicts that follow from them."""
    compared = {i: each.comparison for i, each in enumerate(results) if each.comparison}
    adjusted = statistics.holm([comparison.p for comparison in compared.values()])
    decided = list(results)
    for (i, comparison), p_holm in zip(compared.items(), adjusted, strict=True):
        better = (comparison.difference > 0) == greater_is_better
        verdict: Verdict = "tied" if p_holm >= ALPHA else "better" if better else "worse"
        decided[i] = replace(results[i], comparison=replace(comparison, p_holm=p_holm), verdict=verdict)
    return decided


def draw_metrics(
    sample: Sample, units: np.ndarray, *, draws: int = bootstrap.DRAWS, seed: int = bootstrap.SEED
) -> Draws:
    """Every metric that has an interval, on every draw of the units (n,)."""
    with_interval = [metric for metric in metrics.of_task(sample.task) if metric.interval]
    scores = [bootstrap.score_of(metric, sample) for metric in with_interval]
    values = bootstrap.resample(scores, units, draws=draws, seed=seed)
    return {metric.name: row for metric, row in zip(with_interval, values, strict=True)}


def intervals(sample: Sample, draws: Draws, units: np.ndarray) -> dict[str, Interval]:
    """The interval of each metric, from its draws or in closed form."""
    return {name: interval(METRICS[name], sample, values, units) for name, values in draws.items()}


def interval(metric: Metric, sample: Sample, draws: np.ndarray, units: np.ndarray) -> Interval:
    """The interval of one metric, of which `draws` (b,) are the values."""
    u = int(units.max()) + 1
    if metric.interval == "bootstrap-t":
        return bootstrap.rmse_interval(sample.errors, units)
    if metric.interval == "proportion" and few_units(sample.right, ~sample.right, units):
        # near 0 and 1 the draws hardly vary; of Wilson's items a unit is the least that is known to be independent
        return statistics.wilson_interval(float(sample.right.mean()), u)
    return bootstrap.percentile_interval(draws, u)


def compare(sample: Sample, best: Sample, draws: Draws, draws_of_best: Draws, units: np.ndarray) -> PairedComparison:
    """An entry against the best, on the same n items and the same draws of them."""
    n, u, metric = len(units), int(units.max()) + 1, metrics.primary(sample.task)
    difference = float(metric.function(sample)) - float(metric.function(best))
    ends = {name: bootstrap.percentile_interval(values - draws_of_best[name], u) for name, values in draws.items()}
    if sample.task == "regression":
        p = bootstrap.flip_test(sample.errors**2 - best.errors**2, units)
        return PairedComparison(difference, ends, "flip test", p, p, n, None, None)
    won, lost = sample.right & ~best.right, best.right & ~sample.right
    wins, losses = int(won.sum()), int(lost.sum())
    if u < n:
        p = bootstrap.flip_test(sample.right.astype(np.float64) - best.right, units)
    else:
        p = statistics.sign_test(wins, losses)
    if few_units(won, lost, units):
        closed = statistics.paired_interval(wins * u / n, losses * u / n, u)
        ends |= {name: closed for name in ends if METRICS[name].interval == "proportion"}
    return PairedComparison(difference, ends, "flip test" if u < n else "exact McNemar", p, p, n, wins, losses)


def few_units(items: np.ndarray, others: np.ndarray, units: np.ndarray) -> bool:
    """Whether one of two kinds of items (n,) bool is in too few units for a bootstrap."""
    return min(len(np.unique(units[kind])) for kind in (items, others)) < bootstrap.FEW_UNITS


def restrict(predictions: SplitPredictions, item_ids: set[str]) -> Any:
    """The predictions for these items only, in the order of their ids, so that entries can be compared row by row."""
    order = sorted((item_id, i) for i, item_id in enumerate(predictions.item_ids) if item_id in item_ids)
    kept = np.array([i for _, i in order])
    columns = {"labels": predictions.labels[kept], "predicted": predictions.predicted[kept]}
    if isinstance(predictions, ClassificationPredictions):
        columns["certainty"] = predictions.certainty[kept]
    return replace(predictions, item_ids=[item_id for item_id, _ in order], **columns)


def units_of(item_ids: Sequence[str], groups: Mapping[str, str]) -> np.ndarray:
    """The number (n,) of each item's unit: its group's, or its own."""
    names = [groups.get(item_id) or f"\0{item_id}" for item_id in item_ids]
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.array([number[name] for name in names])


def groups_of(dataset: str) -> dict[str, str]:
    """The groups of a dataset's items by id; none where its manifest is not on this machine."""
    path = paths.manifest(dataset)
    return {row.item_id: row.group for row in manifest.read(path) if row.group} if path.exists() else {}


def load_predictions(entry: LeaderboardEntry) -> dict[str, SplitPredictions]:
    """An entry's predictions by test split; none where the file is absent or of another run."""
    path = paths.predictions(entry.store, entry.head)
    splits = test_predictions.read(path) if path.exists() else {}
    return splits if "test" in splits and is_same_run(entry, splits["test"].sample) else {}


def is_same_run(entry: LeaderboardEntry, test: Sample) -> bool:
    """Whether predictions and metrics are of one run: metrics keep six digits."""
    if test.task != entry.metric.task:
        return False
    return bool(np.isclose(float(entry.metric.function(test)), entry.score, rtol=1e-4, atol=1e-6))
