"""How sure is the leaderboard? Each entry's interval, and its paired difference to the best on val.

The best on val is the reference, so that test chooses nothing. An entry that Holm's correction can't tell from it is
tied, whatever its place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from icebox.features.manifest import manifest
from icebox.pipeline.comparison import bootstrap, statistics
from icebox.pipeline.comparison.classification_predictions import Judged, read
from icebox.pipeline.comparison.leaderboard import Entry
from icebox.pipeline.comparison.regression_predictions import Measured
from icebox.pipeline.comparison.statistics import Interval
from icebox.pipeline.evaluation import metrics
from icebox.pipeline.evaluation.metrics import METRICS, Metric
from icebox.pipeline.evaluation.sample import Sample
from icebox.pipeline.project import paths

ALPHA = 0.05

Seen = Judged | Measured
Draws = dict[str, np.ndarray]  # by metric: its value on each draw (b,)
Verdict = Literal["best", "tied", "better", "worse", "unknown"]


@dataclass(frozen=True)
class Versus:
    """An entry against the best on val, on the n test items that both were judged on.

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
class Standing:
    """The 95 % intervals of an entry's test scores, by metric, and how it stands to the best."""

    intervals: dict[str, Interval]
    versus: Versus | None
    verdict: Verdict


def standings(entries: Sequence[Entry], seen: Sequence[Seen | None]) -> list[Standing]:
    """A standing for each of one dataset's entries, best on val first; `seen` are their views of test.

    A view that is not on this machine leaves no difference, and no interval but the closed form of a proportion. Views
    are compared on the items that all of them hold, since a store may have skipped some.
    """
    found = [Standing(closed_form(entry), None, "unknown") for entry in entries]
    shared = common(seen)
    views = {i: narrowed(one, shared) for i, one in enumerate(seen) if one and shared}
    if views:
        units = units_of(next(iter(views.values())).item_ids, groups_of(entries[0].dataset))
        draws = {i: draws_of(one, units) for i, one in views.items()}
        for i, one in views.items():
            versus = against(one, views[0], draws[i], draws[0], units) if i and 0 in views else None
            found[i] = Standing(intervals(one, draws[i], units), versus, "unknown")
    if found:
        found[0] = replace(found[0], verdict="best")
    return decided(found, greater_is_better=bool(entries) and entries[0].metric.greater_is_better)


def closed_form(entry: Entry) -> dict[str, Interval]:
    """The interval that a proportion and its number of items suffice for."""
    if entry.metric.interval != "proportion":
        return {}
    return {entry.metric.name: statistics.interval(entry.score, int(entry.test["n"]))}


def common(seen: Sequence[Seen | None]) -> set[str]:
    """The ids of the items in every view."""
    sets = [set(one.item_ids) for one in seen if one]
    return set.intersection(*sets) if sets else set()


def decided(found: list[Standing], *, greater_is_better: bool) -> list[Standing]:
    """The same with Holm's p-values, and what they say."""
    compared = [i for i, each in enumerate(found) if each.versus]
    adjusted = dict(zip(compared, statistics.holm([versus(found[i]).p for i in compared]), strict=True))
    done = list(found)
    for i, p_holm in adjusted.items():
        one = replace(versus(found[i]), p_holm=p_holm)
        better = (one.difference > 0) == greater_is_better
        verdict: Verdict = "tied" if p_holm >= ALPHA else "better" if better else "worse"
        done[i] = replace(found[i], versus=one, verdict=verdict)
    return done


def versus(one: Standing) -> Versus:
    """The comparison, which must be there."""
    assert one.versus is not None
    return one.versus


def draws_of(one: Seen, units: np.ndarray, *, draws: int = bootstrap.DRAWS, seed: int = bootstrap.SEED) -> Draws:
    """Every metric with an interval, on every draw of the units."""
    sample = one.sample
    drawn = [metric for metric in metrics.of_task(sample.task) if metric.interval]
    scores = [bootstrap.score_of(metric, sample) for metric in drawn]
    values = bootstrap.bootstrap(scores, units, draws=draws, seed=seed)
    return {metric.name: row for metric, row in zip(drawn, values, strict=True)}


def intervals(one: Seen, draws: Draws, units: np.ndarray) -> dict[str, Interval]:
    """The interval of each metric, from its draws or in closed form."""
    return {name: interval(METRICS[name], one.sample, values, units) for name, values in draws.items()}


def interval(metric: Metric, sample: Sample, draws: np.ndarray, units: np.ndarray) -> Interval:
    """The interval of one metric; draws: (b,)."""
    u = int(units.max()) + 1
    if metric.interval == "bootstrap-t":
        return bootstrap.error_interval(sample.errors, units)
    if metric.interval == "proportion" and few(sample.right, ~sample.right, units):
        # near 0 and 1 the draws hardly vary; of Wilson's items a unit is the least that is known to be independent
        return statistics.interval(float(sample.right.mean()), u)
    return bootstrap.interval(draws, u)


def against(one: Seen, best: Seen, draws: Draws, draws_of_best: Draws, units: np.ndarray) -> Versus:
    """One against the best on the same n items and the same draws of them."""
    mine, other = one.sample, best.sample
    n, u, metric = len(units), int(units.max()) + 1, metrics.primary(mine.task)
    difference = float(metric.function(mine)) - float(metric.function(other))
    drawn = {name: bootstrap.interval(values - draws_of_best[name], u) for name, values in draws.items()}
    if mine.task == "regression":
        p = bootstrap.flip_test(mine.errors**2 - other.errors**2, units)
        return Versus(difference, drawn, "flip test", p, p, n, None, None)
    won, lost = mine.right & ~other.right, other.right & ~mine.right
    wins, losses = int(won.sum()), int(lost.sum())
    if u < n:
        p = bootstrap.flip_test(mine.right.astype(np.float64) - other.right, units)
    else:
        p = statistics.sign_test(wins, losses)
    if few(won, lost, units):
        closed = statistics.paired_interval(wins * u / n, losses * u / n, u)
        drawn |= {name: closed for name in drawn if METRICS[name].interval == "proportion"}
    return Versus(difference, drawn, "flip test" if u < n else "exact McNemar", p, p, n, wins, losses)


def few(one: np.ndarray, other: np.ndarray, units: np.ndarray) -> bool:
    """Whether fewer than FEW units hold one of two kinds of items (n,) bool."""
    return min(len(np.unique(units[items])) for items in (one, other)) < bootstrap.FEW


def narrowed(one: Seen, item_ids: set[str]) -> Any:
    """The same view of these items only, by their ids' order, so that two views stand side by side."""
    order = sorted((item_id, i) for i, item_id in enumerate(one.item_ids) if item_id in item_ids)
    kept = np.array([i for _, i in order])
    columns = {"labels": one.labels[kept], "predicted": one.predicted[kept]}
    if isinstance(one, Judged):
        columns["sure"] = one.sure[kept]
    return replace(one, item_ids=[item_id for item_id, _ in order], **columns)


def units_of(item_ids: Sequence[str], groups: Mapping[str, str]) -> np.ndarray:
    """The number (n,) of each item's unit: its group's, or its own."""
    names = [groups.get(item_id) or f"\0{item_id}" for item_id in item_ids]
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.array([number[name] for name in names])


def groups_of(dataset: str) -> dict[str, str]:
    """The groups of a dataset's items, where its manifest is here."""
    path = paths.manifest(dataset)
    return {row.item_id: row.group for row in manifest.read(path) if row.group} if path.exists() else {}


def seen_of(entry: Entry) -> dict[str, Seen]:
    """An entry's views of its test splits; none where the predictions are absent or of another run."""
    path = paths.predictions(entry.store, entry.head)
    found = read(path) if path.exists() else {}
    return found if "test" in found and agrees(entry, found["test"]) else {}


def agrees(entry: Entry, test: Seen) -> bool:
    """Whether predictions and metrics are of one run: metrics keep six digits."""
    score = float(entry.metric.function(test.sample)) if test.sample.task == entry.metric.task else np.nan
    return bool(np.isclose(score, entry.score, rtol=1e-4, atol=1e-6))
