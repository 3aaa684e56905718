"""A head's predictions for test splits, read from their file: confusions, scores by class, calibration, mistakes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from icebox.features import label_sets
from icebox.pipeline.evaluation import class_scores, prediction_file
from icebox.pipeline.evaluation.dense_tasks.dense import DensePredictions
from icebox.pipeline.evaluation.metrics import Metric
from icebox.pipeline.evaluation.multilabel import LabelSetSample, ranking_losses
from icebox.pipeline.evaluation.prediction_file import StoredPredictions, StoredSets, StoredSplit
from icebox.pipeline.evaluation.sample import Sample

BINS = 10  # of the calibration curve


@dataclass(frozen=True)
class ClassificationPredictions:
    """n test items: ids, true and predicted class numbers (n,), and how sure the head was of its prediction (n,).

    `certainty_kind` says what `certainty` is: "confidence" is the predicted class's probability, "margin" the lead of
    its score over the next one. `label_probabilities` (n,) are those of the true classes, where there are any.
    """

    classes: list[str]
    item_ids: list[str]
    labels: np.ndarray
    predicted: np.ndarray
    certainty: np.ndarray
    certainty_kind: str
    label_probabilities: np.ndarray | None = None

    @property
    def sample(self) -> Sample:
        """Labels and predictions, as metrics take them."""
        return Sample(self.labels, self.predicted, len(self.classes), label_probabilities=self.label_probabilities)

    @property
    def right(self) -> np.ndarray:
        """Whether each prediction is the label (n,)."""
        return self.sample.right

    @property
    def mistake_count(self) -> int:
        """The number of predictions that are not the label."""
        return int((~self.right).sum())

    @property
    def severity(self) -> np.ndarray:
        """Certainty (n,) of the head at each item: the cost of a mistake there."""
        return self.certainty

    def confusion(self) -> np.ndarray:
        """Counts (k, k): rows are actual, columns predicted classes."""
        counts = np.zeros((len(self.classes), len(self.classes)), np.int64)
        np.add.at(counts, (self.labels, self.predicted), 1)
        return counts

    def mistakes(self, limit: int) -> list[int]:
        """Positions of the wrong predictions, the surest first; equally sure ones in the items' order."""
        wrong = np.flatnonzero(~self.right)
        return [int(i) for i in wrong[np.argsort(-self.severity[wrong], kind="stable")][:limit]]

    def label_and_prediction(self, i: int) -> tuple[str, str]:
        """The true and the predicted class of an item."""
        return self.classes[self.labels[i]], self.classes[self.predicted[i]]

    def take(self, rows: np.ndarray) -> "ClassificationPredictions":
        """The items at these positions."""
        of_labels = None if self.label_probabilities is None else self.label_probabilities[rows]
        return replace(
            self,
            item_ids=[self.item_ids[i] for i in rows],
            labels=self.labels[rows],
            predicted=self.predicted[rows],
            certainty=self.certainty[rows],
            label_probabilities=of_labels,
        )


@dataclass(frozen=True)
class RegressionPredictions:
    """n test items: ids, true and predicted values (n,) float64. There are no classes."""

    item_ids: list[str]
    labels: np.ndarray
    predicted: np.ndarray

    @property
    def classes(self) -> list[str]:
        """None."""
        return []

    @property
    def sample(self) -> Sample:
        """Labels and predictions, as metrics take them."""
        return Sample(self.labels, self.predicted)

    @property
    def severity(self) -> np.ndarray:
        """The size of each error (n,)."""
        sizes: np.ndarray = np.abs(self.sample.errors)
        return sizes

    def mistakes(self, limit: int) -> list[int]:
        """Positions of the largest errors, largest first; equal ones in the items' order."""
        sizes = self.severity
        return [int(i) for i in np.argsort(-sizes, kind="stable")[:limit] if sizes[i] > 0]

    def label_and_prediction(self, i: int) -> tuple[str, str]:
        """The true and the predicted value of an item, to four digits."""
        return f"{self.labels[i]:.4g}", f"{self.predicted[i]:.4g}"

    def take(self, rows: np.ndarray) -> "RegressionPredictions":
        """The items at these positions."""
        return RegressionPredictions([self.item_ids[i] for i in rows], self.labels[rows], self.predicted[rows])


@dataclass(frozen=True)
class LabelSetPredictions:
    """n test items: ids, true and predicted sets of labels (n, k) bool, and the labels' scores (n, k)."""

    classes: list[str]
    item_ids: list[str]
    labels: np.ndarray
    predicted: np.ndarray
    scores: np.ndarray

    @property
    def sample(self) -> LabelSetSample:
        """Sets and scores, as metrics take them."""
        return LabelSetSample(self.labels, self.predicted, self.scores)

    @property
    def severity(self) -> np.ndarray:
        """How many labels of each item are missed or too many (n,)."""
        wrong: np.ndarray = (self.labels != self.predicted).sum(axis=1)
        return wrong

    def mistakes(self, limit: int) -> list[int]:
        """Positions of the items with most wrong labels; of equal ones those whose scores rank labels worst."""
        wrong, losses = self.severity, ranking_losses(self.sample)
        order = np.lexsort((-losses, -wrong))
        return [int(i) for i in order[:limit] if wrong[i]]

    def label_and_prediction(self, i: int) -> tuple[str, str]:
        """The true and the predicted set of an item, in words."""
        true, predicted = (
            label_sets.in_words([self.classes[number] for number in np.flatnonzero(each[i])])
            for each in (self.labels, self.predicted)
        )
        return true, predicted

    def take(self, rows: np.ndarray) -> "LabelSetPredictions":
        """The items at these positions."""
        arrays = (self.labels[rows], self.predicted[rows], self.scores[rows])
        return LabelSetPredictions(self.classes, [self.item_ids[i] for i in rows], *arrays)


SplitPredictions = ClassificationPredictions | RegressionPredictions | LabelSetPredictions | DensePredictions


def read(path: Path) -> dict[str, SplitPredictions]:
    """The test splits in a predictions file, by name. Raises IceboxError for a file that holds no predictions."""
    return {name: split for name, split in read_splits(path).items() if name.startswith("test")}


def read_splits(path: Path) -> Mapping[str, SplitPredictions]:
    """The predictions for all splits of a file."""
    stored = prediction_file.read(path)
    if isinstance(stored, StoredPredictions):
        return {name: of_split(stored, split) for name, split in stored.splits.items()}
    if isinstance(stored, StoredSets):
        return {
            name: LabelSetPredictions(stored.classes, each.item_ids, each.labels, each.predicted, each.scores)
            for name, each in stored.splits.items()
        }
    return stored


def of_split(stored: StoredPredictions, split: StoredSplit) -> SplitPredictions:
    """The predictions for one split, of a classification or a regression."""
    if not stored.classes:
        return RegressionPredictions(split.item_ids, split.labels, split.predicted)
    items = (stored.classes, split.item_ids, split.labels, split.predicted)
    if not stored.has_probabilities:
        return ClassificationPredictions(*items, margins(split.scores, split.predicted), "margin")
    confidence, of_labels = (scores_of(split.scores, classes) for classes in (split.predicted, split.labels))
    # float64, as heads gave them: the least probability that log loss counts hangs on the type, and files hold float32
    return ClassificationPredictions(*items, confidence, "confidence", of_labels.astype(np.float64))


def scores_of(scores: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The score (n,) that each row of (n, k) has for its class (n,)."""
    picked: np.ndarray = scores[np.arange(len(scores)), classes]
    return picked


def margins(scores: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Distances (n,) of the predicted class's score above the best of the others."""
    others = scores.copy()
    others[np.arange(len(scores)), predicted] = -np.inf
    ahead: np.ndarray = scores_of(scores, predicted) - others.max(axis=1, initial=-np.inf)
    return ahead


def confusion_pairs(predictions: ClassificationPredictions, limit: int) -> list[dict[str, Any]]:
    """The commonest confusions: actual and predicted class, how often, and that as a share of the actual class."""
    counts = predictions.confusion()
    wrong = counts * (1 - np.eye(len(counts), dtype=np.int64))
    order = [divmod(int(i), len(counts)) for i in np.argsort(-wrong, axis=None, kind="stable")[:limit]]
    return [
        {
            "actual": predictions.classes[actual],
            "predicted": predictions.classes[predicted],
            "count": int(wrong[actual, predicted]),
            "share": float(wrong[actual, predicted] / counts[actual].sum()),
        }
        for actual, predicted in order
        if wrong[actual, predicted]
    ]


def scores_by_class(predictions: ClassificationPredictions) -> list[dict[str, Any]]:
    """Items, precision, recall and F1 of each class, as in `class_scores.of_sample`."""
    return class_scores.of_sample(predictions.sample, predictions.classes)


def calibration_curve(predictions: ClassificationPredictions) -> list[dict[str, float]]:
    """Bins of equal width that hold items, each with their number, mean confidence and share of right predictions."""
    confidence, right = predictions.certainty, predictions.right
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    return [
        {
            "n": int((bins == b).sum()),
            "confidence": round(float(confidence[bins == b].mean()), 4),
            "right": round(float(right[bins == b].mean()), 4),
        }
        for b in np.unique(bins)
    ]


class ConstantBaseline(NamedTuple):
    """The score of always giving one answer: the most frequent class, with the classes' shares as its probabilities; or
    the mean of a regression's labels, or their median where absolute errors count; of masks the class with the most
    pixels, everywhere; of sets of labels that set that is best by the metric, with the labels' shares as scores."""

    prediction: str
    score: float


def constant_baseline(sample: Any, classes: Sequence[str], metric: Metric) -> ConstantBaseline | None:
    """The baseline of a split's labels by a metric, where that is defined; of boxes there is none.

    Among equal classes the first wins.
    """
    if sample.task == "detection":
        return None
    if sample.task == "segmentation":
        number, constant = sample.constant()
        score = float(metric.function(constant)) if metric.is_defined(constant) else None
        return None if score is None else ConstantBaseline(classes[number], score)
    if sample.task == "multilabel":
        return constant_set(sample, classes, metric)
    labels = sample.labels
    if sample.task == "regression":
        answer = np.median(labels) if metric.name == "mae" else labels.mean()
        name, constant = f"{answer:.4g}", Sample(labels, np.full(len(labels), answer))
    else:
        shares = np.bincount(labels, minlength=len(classes)) / len(labels)
        answer, name = shares.argmax(), classes[int(shares.argmax())]
        constant = Sample(labels, np.full(len(labels), answer), len(classes), label_probabilities=shares[labels])
    return ConstantBaseline(name, float(metric.function(constant))) if metric.is_defined(constant) else None


def constant_set(sample: LabelSetSample, classes: Sequence[str], metric: Metric) -> ConstantBaseline | None:
    """The best of the sets that are the same for all items; where only the order of scores counts, the labels'
    shares."""
    if not metric.is_defined(sample):
        return None
    scored = [(float(metric.function(each)), each) for each in sample.constants()]
    score, best = (max if metric.greater_is_better else min)(scored, key=lambda pair: pair[0])
    if all(value == score for value, _ in scored):
        return ConstantBaseline("the labels' shares", score)
    names = [classes[number] for number in np.flatnonzero(best.predicted[0]).tolist()]
    return ConstantBaseline(label_sets.in_words(names), score)
