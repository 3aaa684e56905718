"""Scores on parts of test: by the values of a manifest's slice columns (the genre of a text, a hospital)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from icebox.features.manifest.manifest import ManifestRow
from icebox.pipeline.comparison import bootstrap, statistics
from icebox.pipeline.comparison.statistics import Interval
from icebox.pipeline.comparison.test_predictions import SplitPredictions
from icebox.pipeline.evaluation import metrics
from icebox.pipeline.evaluation.sample import Sample

MAX_VALUES = 30  # of a column: more would be no parts to read


@dataclass(frozen=True)
class Slice:
    """The items of one value of a column: how many, their score and its 95 % interval."""

    column: str
    value: str
    n: int
    score: float
    interval: Interval


def score_slices(predictions: SplitPredictions, rows: Mapping[str, ManifestRow]) -> list[Slice]:
    """Every slice that holds some of the items, by column, largest first; none of a column with more than MAX_VALUES.

    `rows`: the manifest's, by item id.
    """
    item_ids = predictions.item_ids
    columns = dict.fromkeys(name for item_id in item_ids if item_id in rows for name in rows[item_id].slices)
    return [
        each
        for column in columns
        for each in slices_of_column(predictions, column, column_values(item_ids, rows, column))
    ]


def column_values(item_ids: Sequence[str], rows: Mapping[str, ManifestRow], column: str) -> np.ndarray:
    """The column's value (n,) for each item; empty where it has none."""
    return np.array([rows[item_id].slices.get(column, "") if item_id in rows else "" for item_id in item_ids])


def slices_of_column(predictions: SplitPredictions, column: str, values: np.ndarray) -> list[Slice]:
    """The slices of one column, of which `values` (n,) are the items'."""
    names, counts = np.unique(values[values != ""], return_counts=True)
    if not 1 < len(names) <= MAX_VALUES:
        return []
    order = np.argsort(-counts, kind="stable")
    return [
        Slice(column, str(names[i]), int(counts[i]), *score_items(predictions.sample, values == names[i]))
        for i in order
    ]


def score_items(sample: Sample, items: np.ndarray) -> tuple[float, Interval]:
    """The score of these items (n,) bool and its interval: Wilson's, or a bootstrap of an error."""
    part, n = Sample(sample.labels[items], sample.predicted[items], sample.classes), int(items.sum())
    score = float(metrics.primary(part.task).function(part))
    if part.task == "regression":
        return score, bootstrap.rmse_interval(part.errors, np.arange(n))
    return score, statistics.wilson_interval(score, n)
