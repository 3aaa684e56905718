"""The rows of a dataset's leaderboard in the report: a head's scores, its predictions for test and its mistakes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from icebox.features import plugins
from icebox.pipeline.comparison import (
    bootstrap,
    leaderboard,
    search_table,
    set_scores,
    significance,
    slices,
    statistics,
    test_predictions,
)
from icebox.pipeline.comparison.formats import over_seeds
from icebox.pipeline.comparison.leaderboard import LeaderboardEntry
from icebox.pipeline.comparison.search_table import SearchRow
from icebox.pipeline.comparison.set_scores import SetScores
from icebox.pipeline.comparison.significance import Significance
from icebox.pipeline.comparison.slices import Slice
from icebox.pipeline.comparison.statistics import FoldComparison, Interval
from icebox.pipeline.comparison.test_predictions import (
    ClassificationPredictions,
    LabelSetPredictions,
    RegressionPredictions,
    SplitPredictions,
)
from icebox.pipeline.config import plugin_schema
from icebox.pipeline.config.schema import Config
from icebox.pipeline.data.manifest_rows import ManifestRows
from icebox.pipeline.evaluation.dense_tasks.dense import DensePredictions
from icebox.pipeline.project import paths
from icebox.pipeline.report import pictures
from icebox.pipeline.report.pictures import DenseDetails
from icebox.pipeline.report.thumbnails import Thumbnails

MISTAKES_MAX = 12  # shown of each head
CONFUSION_PAIRS_MAX = 15  # shown where a matrix would be too large


@dataclass(frozen=True)
class Mistake:
    """A wrong prediction for an item of test. `severity`: the head's certainty, or the size of a regression's error."""

    item_id: str
    label: str
    predicted: str
    severity: float


@dataclass(frozen=True)
class HeadRow:
    """A row of the leaderboard and the details that it links to.

    `predictions` by test split; none where their file is missing or of another run. `further_intervals`: the 95 %
    intervals of the scores on further test sets. `class_scores`: recall with its
    interval, precision and F1 of each class. `sets`: the scores of its conformal sets, of a classifier. `dense`: the
    worst pictures and the scores by class of a head of masks or boxes.
    """

    entry: LeaderboardEntry
    rank: str
    is_floor: bool
    significance: Significance
    on_folds: FoldComparison | None
    predictions: dict[str, SplitPredictions]
    slices: list[Slice]
    mistakes: list[Mistake]
    further_intervals: dict[str, Interval]
    class_scores: list[dict[str, Any]]
    sets: SetScores | None
    dense: DenseDetails | None

    @property
    def anchor(self) -> str:
        """The id of its details on the page. Names are letters, digits, `_`, `.` and `-`."""
        return self.entry.name

    @property
    def interval(self) -> Interval | None:
        """The 95 % interval of the score that heads are ranked by."""
        return self.significance.intervals.get(self.entry.metric.name)

    @property
    def classification(self) -> ClassificationPredictions | None:
        """The predictions for test, of a classifier."""
        test = self.predictions.get("test")
        return test if isinstance(test, ClassificationPredictions) else None

    @property
    def regression(self) -> RegressionPredictions | None:
        """The predictions for test, of a regression."""
        test = self.predictions.get("test")
        return test if isinstance(test, RegressionPredictions) else None

    @property
    def label_sets(self) -> LabelSetPredictions | None:
        """The predictions for test, of a head of sets of labels."""
        test = self.predictions.get("test")
        return test if isinstance(test, LabelSetPredictions) else None

    @property
    def confusion_pairs(self) -> list[dict[str, Any]]:
        """The commonest confusions."""
        test = self.classification
        return test_predictions.confusion_pairs(test, CONFUSION_PAIRS_MAX) if test else []

    @property
    def weakest_class(self) -> dict[str, Any] | None:
        """The scores of the class that is found least often on test."""
        known = [each for each in self.class_scores if each["recall"] is not None]
        return min(known, key=lambda each: float(each["recall"]), default=None)

    @property
    def seeds(self) -> tuple[int, float | None, float | None]:
        """The number of seeds, and the mean and standard deviation of their test scores."""
        return over_seeds(self.entry)

    @property
    def search_rows(self) -> list[SearchRow]:
        """The settings of its search, best first."""
        return search_table.rows(self.entry)

    @property
    def why_no_predictions(self) -> tuple[str, str] | None:
        """The reason why there are no predictions, and the commands that mend it."""
        if self.predictions:
            return None
        path = paths.predictions(self.entry.input_name, self.entry.head)
        if path.exists():
            return "The predictions and the metrics are of different runs; to mend it", "dvc checkout && dvc repro"
        return "The predictions are not on this machine; to bring them", f"dvc pull {path} && dvc repro -sf report"


def collect(
    config: Config, entries: Sequence[LeaderboardEntry], items: ManifestRows, thumbnails: Thumbnails
) -> list[HeadRow]:
    """A row for each entry, with its predictions where they are here."""
    metric = entries[0].metric
    ranks = statistics.ranks([entry.val_score for entry in entries])
    predictions = [significance.load_predictions(entry) for entry in entries]
    assessed = significance.assess(entries, [splits.get("test") for splits in predictions])
    groups = items.groups
    tested = items.taken(dict.fromkeys(name for splits in predictions if splits for name in splits["test"].item_ids))
    fold_comparisons = leaderboard.compare_on_folds(entries)
    return [
        HeadRow(
            entry=entry,
            rank=rank,
            is_floor=is_floor(config, entry.store),
            significance=result,
            on_folds=on_folds,
            predictions=splits,
            slices=slices.score_slices(splits["test"], tested, metric) if splits else [],
            mistakes=worst_mistakes(splits["test"]) if splits and not is_dense(splits["test"]) else [],
            further_intervals=significance.further_intervals(entry, splits, groups),
            class_scores=scores_by_class(splits.get("test"), groups),
            sets=set_scores.of_entry(entry, groups) if splits else None,
            dense=dense_details(splits.get("test"), entry.store, thumbnails),
        )
        for entry, rank, splits, result, on_folds in zip(
            entries, ranks, predictions, assessed, fold_comparisons, strict=True
        )
    ]


def is_dense(predictions: SplitPredictions) -> bool:
    """Whether they are masks or boxes."""
    return isinstance(predictions, DensePredictions)


def dense_details(test: SplitPredictions | None, store: str, thumbnails: Thumbnails) -> DenseDetails | None:
    """The worst pictures of a head of masks or boxes whose predictions are here."""
    return pictures.collect(test, store, thumbnails) if isinstance(test, DensePredictions) else None


def scores_by_class(test: SplitPredictions | None, groups: Mapping[str, str]) -> list[dict[str, Any]]:
    """The scores of each class on test, of a classifier whose predictions are here."""
    if not isinstance(test, ClassificationPredictions | LabelSetPredictions):
        return []
    return significance.class_scores(test, bootstrap.units_of(test.item_ids, groups))


def is_floor(config: Config, store: str) -> bool:
    """Whether the family of a store's backbone, or of all that it is joined of, declares that it has no network."""
    families = {config.backbone(config.stores[member].backbone).family for member in config.members(store)}
    files = [plugins.file("icebox.features.backbones", family) for family in families]
    return all(plugin_schema.constant(file, "FLOOR") is True for file in files)


def worst_mistakes(predictions: SplitPredictions) -> list[Mistake]:
    """The surest wrong predictions, or the largest errors."""
    return [
        Mistake(predictions.item_ids[i], *predictions.label_and_prediction(i), float(predictions.severity[i]))
        for i in predictions.mistakes(MISTAKES_MAX)
    ]
