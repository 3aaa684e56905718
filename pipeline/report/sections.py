"""The data of the report: a section for each dataset, with a row for each head that was fitted on its stores.

Metrics and details must be there. Manifests, predictions, maps, stores and raw data need not be (a second clone has
none until `dvc pull`): the page then says what is missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from icebox.features import label_sets
from icebox.features.manifest.validation import DENSE_TASKS
from icebox.features.splits import in_order
from icebox.pipeline.comparison import (
    cautions,
    leaderboard,
    recommendations,
    test_predictions,
)
from icebox.pipeline.comparison.leaderboard import LeaderboardEntry
from icebox.pipeline.comparison.test_predictions import (
    ClassificationPredictions,
    ConstantBaseline,
    LabelSetPredictions,
    SplitPredictions,
)
from icebox.pipeline.config import plugin_schema
from icebox.pipeline.config.schema import Config
from icebox.pipeline.data.manifest_rows import ManifestRows
from icebox.pipeline.evaluation import metrics
from icebox.pipeline.evaluation.dense_tasks.dense import DensePredictions
from icebox.pipeline.evaluation.metrics import Metric
from icebox.pipeline.evaluation.sample import Sample
from icebox.pipeline.exploration import results
from icebox.pipeline.exploration.results import FeatureMap
from icebox.pipeline.project import paths
from icebox.pipeline.report import findings, head_rows
from icebox.pipeline.report.head_rows import HeadRow
from icebox.pipeline.report.thumbnails import Thumbnails
from icebox.pipeline.stores import provenance
from icebox.pipeline.stores.provenance import Provenance

AXIS_STARTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)  # of scores between 0 and 1
AXIS_ENDS = (0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class DatasetSection:
    """One dataset: its leaderboard, best on val first, and its stores.

    `items`: the manifest's rows by item id, none where the manifest is not here. `axis`: where the strip of test scores
    begins and ends. `findings`: of the manifest stage, on the splits and labels. `passed_over`:
    heads that a store can't have, and why.
    """

    name: str
    items: ManifestRows
    classes: list[str]
    baseline: ConstantBaseline | None
    rows: list[HeadRow]
    stores: dict[str, Provenance]
    feature_maps: dict[str, FeatureMap]
    thumbnails: Thumbnails
    axis: tuple[float, float]
    cautions: list[str]
    recommendations: list[str]
    findings: list[dict[str, Any]]
    passed_over: list[str]

    @property
    def split_counts(self) -> dict[str, int]:
        """The number of items in each split of the manifest."""
        counts = self.items.manifest.split_counts()
        return {name: counts[name] for name in in_order(counts)}

    @property
    def best(self) -> HeadRow:
        """The winner on val."""
        return self.rows[0]

    @property
    def best_floor(self) -> HeadRow | None:
        """The best floor on val, unless it wins or there is none."""
        return None if self.best.is_floor else next((row for row in self.rows if row.is_floor), None)

    @property
    def is_dense(self) -> bool:
        """Whether masks or boxes are predicted: the manifest's labels are then hashes of them."""
        return self.metric.task in DENSE_TASKS

    @property
    def has_sets(self) -> bool:
        """Whether sets of labels are predicted."""
        return self.metric.task == "multilabel"

    def label_of_item(self, item_id: str) -> str:
        """An item's label by the manifest, a set in words; "" where it is the hash of a mask or boxes, or unknown."""
        label = "" if self.is_dense or item_id not in self.items else self.items[item_id].label
        return label_sets.in_words(label_sets.split(label)) if self.has_sets and label else label

    @property
    def is_regression(self) -> bool:
        """Whether numbers are predicted."""
        return self.best.entry.regression

    @property
    def metric(self) -> Metric:
        """The metric that heads are ranked by on val and compared by on test."""
        return self.best.entry.metric

    @property
    def other_metrics(self) -> list[Metric]:
        """The further metrics that have a column in the leaderboard, the task's own among them."""
        of_task = metrics.of_task(self.metric.task)
        return [metric for metric in of_task if metric != self.metric and "report" in metric.shown]

    @property
    def further_tests(self) -> list[str]:
        """Further test sets that any head was scored on."""
        return list(dict.fromkeys(split for row in self.rows for split in row.entry.further))

    def rows_of(self, store: str) -> list[HeadRow]:
        """The rows of a store's heads, best on val first."""
        return [row for row in self.rows if row.entry.store == store]

    def label_of(self, store: str) -> str:
        """A store's name without the dataset's in front of it."""
        return store.removeprefix(f"{self.name}-")

    def percent(self, value: float) -> float:
        """A value's position on the strip, in percent of its length; one that lies off it is put at its end."""
        low, high = self.axis
        return round(100 * min(1.0, max(0.0, (value - low) / (high - low))), 2)


def collect(config: Config) -> list[DatasetSection]:
    """A section for each dataset of params.yaml, in its order.

    Raises IceboxError where metrics are missing or a file is damaged.
    """
    entries = leaderboard.entries(config)
    datasets = dict.fromkeys(entry.dataset for entry in entries)
    return [collect_dataset(config, name, [entry for entry in entries if entry.dataset == name]) for name in datasets]


def collect_dataset(config: Config, name: str, entries: list[LeaderboardEntry]) -> DatasetSection:
    """The section of one dataset. `entries` stand best on val first."""
    items = ManifestRows.read(paths.manifest(name))
    thumbnails = Thumbnails(config, name, items)
    rows = head_rows.collect(config, entries, items, thumbnails)
    first_test = next((row.predictions["test"] for row in rows if row.predictions), None)
    stores = [store for store in (*config.stores, *config.joined) if config.dataset_name(store) == name]
    best, floor = rows[0], next((row for row in rows if row.is_floor), None)
    return DatasetSection(
        name=name,
        items=items,
        classes=class_names(items, first_test, regression=entries[0].regression),
        baseline=baseline_of_test(items, first_test, entries[0].metric),
        rows=rows,
        stores={store: provenance.collect(config, store) for store in stores},
        feature_maps={store: feature_map for store in stores if (feature_map := results.read(store))},
        thumbnails=thumbnails,
        axis=strip_axis(rows),
        recommendations=recommendations.recommend(
            [(row.entry, row.significance) for row in rows],
            (floor.entry, floor.significance) if floor and not best.is_floor else None,
            best.slices,
            {head: entry.parameters for head, entry in config.heads.items()},
            fits=lambda head, name, value: plugin_schema.fits_head(config.heads[head].family, name, value),
        ),
        cautions=cautions.of_winner(best.entry, best.interval, best.classification or best.label_sets),
        findings=findings.read(name),
        passed_over=leaderboard.passed_over(config, stores),
    )


def class_names(items: ManifestRows, predictions: SplitPredictions | None, *, regression: bool) -> list[str]:
    """The labels' names, from the manifest or else from predictions; none of a regression."""
    if regression:
        return []
    if isinstance(predictions, DensePredictions):  # in the manifest, labels are targets' hashes
        return predictions.classes
    if isinstance(predictions, LabelSetPredictions):
        return predictions.classes
    stored = predictions.classes if isinstance(predictions, ClassificationPredictions) else []
    return sorted(items.manifest.distinct("label")) or stored


def baseline_of_test(
    items: ManifestRows, predictions: SplitPredictions | None, metric: Metric
) -> ConstantBaseline | None:
    """The constant baseline by predictions or else, of classes, by the manifest, of which a store may have skipped
    items."""
    if predictions:
        return test_predictions.constant_baseline(predictions.sample, predictions.classes, metric)
    labels = np.array([row.label for row in items.manifest.take(items.manifest.positions("test"))])
    if not len(labels) or metric.task != "classification":
        return None
    classes, numbers = np.unique(labels, return_inverse=True)
    sample = Sample(numbers, numbers, len(classes))
    return test_predictions.constant_baseline(sample, classes.tolist(), metric)


def strip_axis(rows: Sequence[HeadRow]) -> tuple[float, float]:
    """Where the strip of test scores begins and ends, so that all scores and intervals lie on it."""
    ends = [end for row in rows for end in row.interval or (row.entry.score,) if end is not None]
    low, high = min(ends), max(ends)
    if rows[0].entry.metric.greater_is_better and 0 <= low <= high <= 1:
        return max(start for start in AXIS_STARTS if start <= low), min(end for end in AXIS_ENDS if end >= high)
    return (low, high) if low < high else (low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2)
