"""Scores on parts of test: by the values of a manifest's slice columns (the genre of a text, a hospital)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from icebox.features.manifest.manifest import ManifestRow
from icebox.pipeline.comparison import bootstrap, statistics
from icebox.pipeline.comparison.bootstrap import units_of
from icebox.pipeline.comparison.statistics import Interval
from icebox.pipeline.comparison.test_predictions import SplitPredictions
from icebox.pipeline.evaluation import metrics
from icebox.pipeline.evaluation.metrics import Metric
from icebox.pipeline.evaluation.sample import Scorable

MAX_VALUES = 30  # of a column: more would be no parts to read


@dataclass(frozen=True)
class Slice:
    """The items of one value of a column: how many, their score and its 95 % interval."""

    column: str
    value: str
    n: int
    score: float
    interval: Interval


def score_slices(
    predictions: SplitPredictions, rows: Mapping[str, ManifestRow], metric: Metric | None = None
) -> list[Slice]:
    """Every slice that holds some of the items, by column, largest first; none of a column with more than MAX_VALUES.

    `rows`: the manifest's, by item id. `metric`: by default the task's own.
    """
    item_ids, metric = predictions.item_ids, metric or metrics.primary(predictions.sample.task)
    units = units_of(item_ids, {item_id: rows[item_id].group for item_id in item_ids if item_id in rows})
    columns = dict.fromkeys(name for item_id in item_ids if item_id in rows for name in rows[item_id].slices)
    return [
        each
        for column in columns
        for each in slices_of_column(predictions, column, column_values(item_ids, rows, column), metric, units)
    ]


def column_values(item_ids: Sequence[str], rows: Mapping[str, ManifestRow], column: str) -> np.ndarray:
    """The column's value (n,) for each item; empty where it has none."""
    return np.array([rows[item_id].slices.get(column, "") if item_id in rows else "" for item_id in item_ids])


def slices_of_column(
    predictions: SplitPredictions, column: str, values: np.ndarray, metric: Metric, units: np.ndarray
) -> list[Slice]:
    """The slices of one column, of which `values` (n,) are the items'; those too small for the metric are left out."""
    names, counts = np.unique(values[values != ""], return_counts=True)
    if not 1 < len(names) <= MAX_VALUES:
        return []
    order = np.argsort(-counts, kind="stable")
    parts = {i: np.flatnonzero(values == names[i]) for i in order}
    return [
        Slice(column, str(names[i]), len(items), *score_items(predictions.sample.part(items), units[items], metric))
        for i, items in parts.items()
        if metric.is_defined(predictions.sample.part(items))
    ]


def score_items(part: Scorable, units: np.ndarray, metric: Metric) -> tuple[float, Interval]:
    """The score of some items, of these units (n,), and its interval: in closed form of a share of right answers of
    items that stand alone, else a bootstrap."""
    score, numbers = float(metric.function(part)), np.unique(units, return_inverse=True)[1]
    if metric.interval == "proportion" and numbers.max() + 1 == len(units):
        return score, statistics.proportion_interval(score, len(units))
    return score, bootstrap.score_interval(metric, part, numbers)
