"""A head's score on parts of test: by the values of a manifest's slice columns (the genre of a text, a hospital)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from icebox.features.manifest.manifest import ManifestRow
from icebox.pipeline.comparison import bootstrap, statistics
from icebox.pipeline.comparison.significance import Seen
from icebox.pipeline.comparison.statistics import Interval
from icebox.pipeline.evaluation import metrics
from icebox.pipeline.evaluation.sample import Sample

MOST = 30  # values of a column: more are no parts to read


@dataclass(frozen=True)
class Slice:
    """The items of one value of a column: how many, their score and its 95 % interval."""

    column: str
    value: str
    n: int
    score: float
    interval: Interval


def of(seen: Seen, rows: Mapping[str, ManifestRow]) -> list[Slice]:
    """Every slice that holds some of the items, by column, largest first; none of a column with more than MOST."""
    columns = dict.fromkeys(name for item_id in seen.item_ids if item_id in rows for name in rows[item_id].slices)
    return [each for column in columns for each in by_value(seen, column, values(seen.item_ids, rows, column))]


def values(item_ids: Sequence[str], rows: Mapping[str, ManifestRow], column: str) -> np.ndarray:
    """The column's value (n,) for each item; empty where it has none."""
    return np.array([rows[item_id].slices.get(column, "") if item_id in rows else "" for item_id in item_ids])


def by_value(seen: Seen, column: str, found: np.ndarray) -> list[Slice]:
    """The slices of one column."""
    names, counts = np.unique(found[found != ""], return_counts=True)
    if not 1 < len(names) <= MOST:
        return []
    order = np.argsort(-counts, kind="stable")
    return [Slice(column, str(names[i]), int(counts[i]), *scored(seen, found == names[i])) for i in order]


def scored(seen: Seen, items: np.ndarray) -> tuple[float, Interval]:
    """The score of these items (n,) bool and its interval: Wilson's, or a bootstrap of an error."""
    whole, n = seen.sample, int(items.sum())
    sample = Sample(whole.labels[items], whole.predicted[items], whole.classes)
    score = float(metrics.primary(sample.task).function(sample))
    if sample.task == "regression":
        return score, bootstrap.error_interval(sample.errors, np.arange(n))
    return score, statistics.interval(score, n)
