"""What the selected stores and heads left behind, as the report tells it: a section a dataset, a line a head.

Metrics and details must be there. Manifests, predictions, maps, stores and raw data need not be (a second clone has
none until `dvc pull`): what is missing is said instead of shown.
"""

import json
from dataclasses import dataclass
from typing import Any

from icebox.features import plugins
from icebox.features.manifest import manifest
from icebox.features.manifest.manifest import ManifestRow
from icebox.pipeline.comparison import (
    leaderboard,
    recommendations,
    search_table,
    significance,
    slices,
    statistics,
    test_predictions,
)
from icebox.pipeline.comparison.formats import over_seeds
from icebox.pipeline.comparison.leaderboard import LeaderboardEntry
from icebox.pipeline.comparison.search_table import SearchRow
from icebox.pipeline.comparison.significance import Significance
from icebox.pipeline.comparison.slices import Slice
from icebox.pipeline.comparison.statistics import FoldComparison, Interval
from icebox.pipeline.comparison.test_predictions import (
    ClassificationPredictions,
    RegressionPredictions,
    SplitPredictions,
)
from icebox.pipeline.config import plugin_schema
from icebox.pipeline.config.schema import Config
from icebox.pipeline.evaluation import metrics
from icebox.pipeline.evaluation.metrics import Metric
from icebox.pipeline.exploration import results
from icebox.pipeline.exploration.results import FeatureMap
from icebox.pipeline.project import paths
from icebox.pipeline.report.thumbnails import Gallery
from icebox.pipeline.stores import provenance

MISTAKES = 12  # shown per head
PAIRS = 15  # commonest confusions, where a matrix would be too large
STARTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)  # of the strip of test accuracies
ENDS = (0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class Mistake:
    """A wrong prediction of test."""

    item_id: str
    label: str
    predicted: str
    sure: float


@dataclass(frozen=True)
class Line:
    """A row of the leaderboard and the details that it links to."""

    entry: LeaderboardEntry
    rank: str
    floor: bool
    standing: Significance
    on_folds: FoldComparison | None
    seen: dict[str, SplitPredictions]
    slices: list[Slice]
    mistakes: list[Mistake]

    @property
    def anchor(self) -> str:
        """Names are letters, digits, `_`, `.` and `-`, and hold no slash."""
        return f"{self.entry.store}/{self.entry.head}"

    @property
    def interval(self) -> Interval | None:
        """The 95 % interval of the score that heads are compared by."""
        return self.standing.intervals.get(self.entry.metric.name)

    @property
    def judged(self) -> ClassificationPredictions | None:
        """Test as a classifier saw it."""
        test = self.seen.get("test")
        return test if isinstance(test, ClassificationPredictions) else None

    @property
    def measured(self) -> RegressionPredictions | None:
        """Test as a regression saw it."""
        test = self.seen.get("test")
        return test if isinstance(test, RegressionPredictions) else None

    @property
    def pairs(self) -> list[dict[str, Any]]:
        """The commonest confusions."""
        return test_predictions.confusion_pairs(self.judged, PAIRS) if self.judged else []

    @property
    def by_class(self) -> list[dict[str, Any]]:
        """Precision, recall and F1."""
        return test_predictions.class_scores(self.judged) if self.judged else []

    @property
    def seeds(self) -> tuple[int, float | None, float | None]:
        """How many, and the mean and standard deviation of their test scores."""
        return over_seeds(self.entry)

    @property
    def tried(self) -> list[SearchRow]:
        """The settings of its search, best first."""
        return search_table.rows(self.entry)

    @property
    def absent(self) -> tuple[str, str] | None:
        """Why there are no predictions, and the commands that mend it."""
        if self.seen:
            return None
        path = paths.predictions(self.entry.store, self.entry.head)
        if path.exists():
            return "The predictions and the metrics are of different runs; to mend it", "dvc checkout && dvc repro"
        return "The predictions are not on this machine; to bring them", f"dvc pull {path} && dvc repro -sf report"


@dataclass(frozen=True)
class Section:
    """One dataset: its leaderboard, best on val first, and its stores."""

    name: str
    rows: dict[str, ManifestRow]
    classes: list[str]
    reference: tuple[str, float] | None  # the commonest label of test and its share; or the mean, and the error of it
    lines: list[Line]
    stores: dict[str, provenance.Provenance]
    atlases: dict[str, FeatureMap]
    gallery: Gallery
    axis: tuple[float, float]
    ranked_by: Metric
    advice: list[str]
    doubts: list[dict[str, Any]]  # what the manifest stage found wrong with the splits and labels

    @property
    def best(self) -> Line:
        """The winner on val."""
        return self.lines[0]

    @property
    def floor(self) -> Line | None:
        """The best floor on val, unless it wins or there is none."""
        return None if self.best.floor else next((line for line in self.lines if line.floor), None)

    @property
    def regression(self) -> bool:
        """Whether numbers are predicted."""
        return self.best.entry.regression

    @property
    def metric(self) -> Metric:
        """The metric that heads are compared by."""
        return self.best.entry.metric

    @property
    def other_metrics(self) -> list[Metric]:
        """The further metrics that have a column in the leaderboard."""
        known = metrics.of_task(self.metric.task)
        return [metric for metric in known if metric != self.metric and "report" in metric.shown]

    @property
    def further(self) -> list[str]:
        """Further test sets that any head was scored on."""
        return list(dict.fromkeys(split for line in self.lines for split in line.entry.further))

    def of(self, store: str) -> list[Line]:
        """A store's lines, best on val first."""
        return [line for line in self.lines if line.entry.store == store]

    def at(self, value: float) -> float:
        """Where a value stands on the strip, in percent of its length; what lies off it is put at its end."""
        low, high = self.axis
        return round(100 * min(1.0, max(0.0, (value - low) / (high - low))), 2)


def collect(config: Config) -> list[Section]:
    """A section for each dataset of the selected stores, in the order of params.yaml.

    Raises IceboxError where metrics are missing or a file is damaged.
    """
    entries = leaderboard.entries(config)
    datasets = dict.fromkeys(entry.dataset for entry in entries)
    return [section(config, name, [entry for entry in entries if entry.dataset == name]) for name in datasets]


def section(config: Config, name: str, entries: list[LeaderboardEntry]) -> Section:
    """All of one dataset. `entries` stand best on val first."""
    path = paths.manifest(name)
    rows = {row.item_id: row for row in manifest.read(path)} if path.exists() else {}
    lines = lines_of(config, entries, rows)
    first = next((one for one in (each.seen.get("test") for each in lines) if one), None)
    stores = [store for store in config.select.stores if config.stores[store].dataset == name]
    best, floor = lines[0], next((line for line in lines if line.floor), None)
    return Section(
        name=name,
        rows=rows,
        classes=classes_of(rows, first, regression=entries[0].regression),
        reference=reference(first, rows, regression=entries[0].regression),
        lines=lines,
        stores={store: provenance.collect(config, store) for store in stores},
        atlases={store: found for store in stores if (found := results.read(store))},
        gallery=Gallery(config, name, list(rows.values())),
        axis=axis(lines),
        ranked_by=leaderboard.ranking_metric(config, entries[0]),
        advice=recommendations.recommend(
            [(each.entry, each.standing) for each in lines],
            (floor.entry, floor.standing) if floor and not best.floor else None,
            best.judged,
            best.slices,
            {head: config.heads[head].parameters for head in config.select.heads},
        ),
        doubts=json.loads(paths.findings(name).read_text()) if paths.findings(name).exists() else [],
    )


def lines_of(config: Config, entries: list[LeaderboardEntry], rows: dict[str, ManifestRow]) -> list[Line]:
    """A line for each entry, with its predictions where they are here."""
    metric = leaderboard.ranking_metric(config, entries[0])
    ranks = statistics.ranks([entry.val.get(metric.name) for entry in entries])
    seen = [significance.load_predictions(entry) for entry in entries]
    standings = significance.assess(entries, [views.get("test") for views in seen])
    folds = leaderboard.compare_on_folds(entries, metric)
    return [
        Line(
            entry=entry,
            rank=rank,
            floor=is_floor(config, entry.backbone),
            standing=stands,
            on_folds=fold,
            seen=views,
            slices=slices.score_slices(views["test"], rows) if views else [],
            mistakes=mistakes(views["test"]) if views else [],
        )
        for entry, rank, views, stands, fold in zip(entries, ranks, seen, standings, folds, strict=True)
    ]


def is_floor(config: Config, backbone: str) -> bool:
    """Whether the backbone's family says of itself that it has no network."""
    family = plugins.file("icebox.features.backbones", config.backbone(backbone).family)
    return plugin_schema.constant(family, "FLOOR") is True


def mistakes(seen: SplitPredictions) -> list[Mistake]:
    """The surest wrong predictions, or the largest errors."""
    return [
        Mistake(seen.item_ids[i], *seen.label_and_prediction(i), float(seen.severity[i]))
        for i in seen.mistakes(MISTAKES)
    ]


def classes_of(rows: dict[str, ManifestRow], seen: SplitPredictions | None, *, regression: bool) -> list[str]:
    """The labels' names, from the manifest or else from predictions."""
    if regression:
        return []
    return sorted({row.label for row in rows.values()}) or (
        seen.classes if isinstance(seen, ClassificationPredictions) else []
    )


def reference(
    seen: SplitPredictions | None, rows: dict[str, ManifestRow], *, regression: bool
) -> tuple[str, float] | None:
    """What an answer without features would score: the commonest label of test, or its mean.

    A store may have skipped items of the manifest, so predictions go first.
    """
    if isinstance(seen, RegressionPredictions):
        return f"{seen.labels.mean():.4g}", float(seen.labels.std())
    labels = [row.label for row in rows.values() if row.split == "test"]
    if isinstance(seen, ClassificationPredictions):
        labels = [seen.classes[i] for i in seen.labels]
    return test_predictions.most_frequent(labels) if labels and not regression else None


def axis(lines: list[Line]) -> tuple[float, float]:
    """Where the strip of test scores begins and ends."""
    ends = [end for line in lines for end in line.interval or (line.entry.score, line.entry.score)]
    if not lines[0].entry.regression:
        return max(start for start in STARTS if start <= min(ends)), min(end for end in ENDS if end >= max(ends))
    low, high = min(ends), max(ends)
    return (low, high) if low < high else (low - 0.5, high + 0.5)
