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
from icebox.pipeline.comparison.test_predictions import ClassificationPredictions, LabelSetPredictions, SplitPredictions
from icebox.pipeline.data import manifest_rows
from icebox.pipeline.data.multiple_testing import holm
from icebox.pipeline.evaluation import metrics
from icebox.pipeline.evaluation.metrics import METRICS, Metric
from icebox.pipeline.evaluation.sample import Scorable
from icebox.pipeline.project import paths

ALPHA = 0.05

Draws = dict[str, np.ndarray]  # by metric: its value on each draw (b,)
PairedTest = Literal["exact McNemar", "flip test"]
Verdict = Literal["best", "tied", "better", "worse", "unknown"]


@dataclass(frozen=True)
class PairedComparison:
    """An entry against the best on val, on the n test items that both were scored on.

    `difference` is its score less the best's, by the metric that heads are ranked by; `intervals` are the 95 %
    intervals of the differences, by metric. `p` is of that metric too: of exact McNemar where it is accuracy and items
    stand alone, else of a test that exchanges the two heads' answers at random, as `test` says. `wins` and `losses` are
    the items that only it, or only the best, got right (None unless there is a class for each item).
    """

    difference: float
    intervals: dict[str, Interval]
    test: PairedTest
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
    item_ids = common_items([each for entry, each in zip(entries, predictions, strict=True) if entry.in_params])
    item_ids = item_ids or common_items(predictions)
    # what params.yaml no longer names may have been scored on another test set: it then stands aside
    predictions = [each if each and item_ids <= set(each.item_ids) else None for each in predictions]
    present = {i: restrict(each, item_ids) for i, each in enumerate(predictions) if each and item_ids}
    if present:
        units = bootstrap.units_of(next(iter(present.values())).item_ids, groups_of(entries[0].dataset))
        draws = {i: draw_metrics(each.sample, units) for i, each in present.items()}
        metric = entries[0].metric
        for i, each in present.items():
            comparable = i and 0 in present and metric.name in draws[i] and metric.name in draws[0]
            comparison = (
                compare(each.sample, present[0].sample, draws[i], draws[0], units, metric) if comparable else None
            )
            results[i] = Significance(intervals(each.sample, draws[i], units), comparison, "unknown")
    if results:
        results[0] = replace(results[0], verdict="best")
    return with_verdicts(results, greater_is_better=bool(entries) and entries[0].metric.greater_is_better)


def closed_form(entry: LeaderboardEntry) -> dict[str, Interval]:
    """The interval that a proportion and its number of items suffice for."""
    proportions = (each.name for each in metrics.of_task(entry.metric.task) if each.interval == "proportion")
    n = int(entry.test["n"])
    return {name: statistics.proportion_interval(entry.test[name], n) for name in proportions if name in entry.test}


def common_items(predictions: Sequence[SplitPredictions | None]) -> set[str]:
    """The ids of the items that all predictions hold."""
    sets = [set(each.item_ids) for each in predictions if each]
    return set.intersection(*sets) if sets else set()


def with_verdicts(results: list[Significance], *, greater_is_better: bool) -> list[Significance]:
    """The results with Holm's p-values, and the verdicts that follow from them."""
    compared = {i: each.comparison for i, each in enumerate(results) if each.comparison}
    adjusted = holm([comparison.p for comparison in compared.values()])
    decided = list(results)
    for (i, comparison), p_holm in zip(compared.items(), adjusted, strict=True):
        better = (comparison.difference > 0) == greater_is_better
        verdict: Verdict = "tied" if p_holm >= ALPHA else "better" if better else "worse"
        decided[i] = replace(results[i], comparison=replace(comparison, p_holm=p_holm), verdict=verdict)
    return decided


def draw_metrics(
    sample: Scorable, units: np.ndarray, *, draws: int = bootstrap.DRAWS, seed: int = bootstrap.SEED
) -> Draws:
    """Every metric that has an interval and is defined, on every draw of the units (n,)."""
    with_interval = [metric for metric in metrics.of_task(sample.task) if metric.interval and metric.is_defined(sample)]
    values = bootstrap.resample(with_interval, sample, units, draws=draws, seed=seed)
    return {metric.name: row for metric, row in zip(with_interval, values, strict=True)}


def intervals(sample: Scorable, draws: Draws, units: np.ndarray) -> dict[str, Interval]:
    """The interval of each metric, from its draws or in closed form."""
    return {name: bootstrap.score_interval(METRICS[name], sample, units, values) for name, values in draws.items()}


def compare(
    sample: Any, best: Any, draws: Draws, draws_of_best: Draws, units: np.ndarray, metric: Metric
) -> PairedComparison:
    """An entry against the best by `metric`, on the same n items and the same draws of them."""
    n, u = len(units), int(units.max()) + 1
    difference = float(metric.function(sample)) - float(metric.function(best))
    ends = {
        name: bootstrap.percentile_interval(values - draws_of_best[name], u)
        for name, values in draws.items()
        if name in draws_of_best
    }
    test, p = paired_test(metric, sample, best, units)
    if sample.task != "classification":
        return PairedComparison(difference, ends, test, p, p, n, None, None)
    won, lost = sample.right & ~best.right, best.right & ~sample.right
    wins, losses = int(won.sum()), int(lost.sum())
    if bootstrap.few_units(won, lost, units):
        closed = statistics.paired_interval(wins * u / n, losses * u / n, u)
        ends |= {name: closed for name in ends if METRICS[name].interval == "proportion"}
    return PairedComparison(difference, ends, test, p, p, n, wins, losses)


def paired_test(metric: Metric, sample: Any, best: Any, units: np.ndarray) -> tuple[PairedTest, float]:
    """The test of a difference by `metric`, and its p-value."""
    if metric.of_item is None:
        return "flip test", bootstrap.swap_test(metric, sample, best, units)
    if metric.interval == "proportion" and int(units.max()) + 1 == len(units):
        won, lost = sample.right & ~best.right, best.right & ~sample.right
        return "exact McNemar", statistics.sign_test(int(won.sum()), int(lost.sum()))
    differences = metric.of_item(sample).astype(np.float64) - metric.of_item(best)
    return "flip test", bootstrap.flip_test(differences, units)


def restrict(predictions: SplitPredictions, item_ids: set[str]) -> SplitPredictions:
    """The predictions for these items only, in the order of their ids, so that entries can be compared row by row."""
    order = sorted((item_id, i) for i, item_id in enumerate(predictions.item_ids) if item_id in item_ids)
    return predictions.take(np.array([i for _, i in order]))


def groups_of(dataset: str) -> dict[str, str]:
    """The groups of a dataset's items by id; none where its manifest is not on this machine."""
    path = paths.manifest(dataset)
    return manifest_rows.groups_of(manifest.read(path)) if manifest.exists(path) else {}


def further_intervals(
    entry: LeaderboardEntry, predictions: Mapping[str, SplitPredictions], groups: Mapping[str, str]
) -> dict[str, Interval]:
    """The 95 % intervals of an entry's scores on further test sets, by their names, as far as predictions are here."""
    samples = {split: predictions[split] for split in entry.further if split in predictions}
    return {
        split: bootstrap.score_interval(entry.metric, each.sample, bootstrap.units_of(each.item_ids, groups))
        for split, each in samples.items()
        if entry.metric.is_defined(each.sample)
    }


def class_scores(
    predictions: ClassificationPredictions | LabelSetPredictions, units: np.ndarray
) -> list[dict[str, Any]]:
    """Items, recall with its 95 % interval, precision and F1 of each class, by items of these units (n,): a unit is the
    least that is known to be independent."""
    if isinstance(predictions, LabelSetPredictions):
        by_class, having = predictions.sample.by_class(predictions.classes), predictions.labels.T
    else:
        by_class = test_predictions.scores_by_class(predictions)
        having = predictions.labels == np.arange(len(by_class))[:, None]
    rows = []
    for scores, of_class in zip(by_class, having, strict=True):
        n = len(np.unique(units[of_class]))
        low, high = statistics.proportion_interval(scores["recall"], n) if n else (None, None)
        rows.append({**scores, "recall_low": low, "recall_high": high})
    return rows


def load_predictions(entry: LeaderboardEntry) -> dict[str, SplitPredictions]:
    """An entry's predictions by test split; none where the file is absent or of another run."""
    path = paths.predictions(entry.input_name, entry.head)
    splits = test_predictions.read(path) if path.exists() else {}
    return splits if "test" in splits and is_same_run(entry, splits["test"].sample) else {}


def is_same_run(entry: LeaderboardEntry, test: Scorable) -> bool:
    """Whether predictions and metrics are of one run: metrics keep six digits, probabilities seven."""
    if test.task != entry.metric.task:
        return False
    metric = metrics.primary(test.task)
    return bool(np.isclose(float(metric.function(test)), entry.test[metric.name], rtol=1e-5, atol=0))
