"""A test split as one head saw it, from its predictions: what it takes for what, and where it is surely wrong."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from icebox.pipeline.comparison.regression_predictions import Measured
from icebox.pipeline.evaluation import prediction_file
from icebox.pipeline.evaluation.prediction_file import StoredPredictions, StoredSplit
from icebox.pipeline.evaluation.sample import Sample

BINS = 10  # of the calibration curve


@dataclass(frozen=True)
class Judged:
    """n test items: ids, true and predicted class numbers (n,), and how sure the head was of its prediction (n,).

    `measure` says what `sure` is: "confidence" is the predicted class's probability, "margin" the lead of its score
    over the next one.
    """

    classes: list[str]
    item_ids: list[str]
    labels: np.ndarray
    predicted: np.ndarray
    sure: np.ndarray
    measure: str

    @property
    def sample(self) -> Sample:
        """Labels and predictions, as metrics take them."""
        return Sample(self.labels, self.predicted, len(self.classes))

    @property
    def right(self) -> np.ndarray:
        """Whether each prediction is the label (n,)."""
        return self.sample.right

    @property
    def wrong(self) -> int:
        """How many predictions are not the label."""
        return int((~self.right).sum())

    def confusion(self) -> np.ndarray:
        """Counts (k, k): rows are actual, columns predicted classes."""
        counts = np.zeros((len(self.classes), len(self.classes)), np.int64)
        np.add.at(counts, (self.labels, self.predicted), 1)
        return counts

    def mistakes(self, limit: int) -> list[int]:
        """Positions of the wrong predictions, the surest first; equally sure ones in the items' order."""
        wrong = np.flatnonzero(~self.right)
        return [int(i) for i in wrong[np.argsort(-self.sure[wrong], kind="stable")][:limit]]

    def said(self, i: int) -> tuple[str, str]:
        """The label and the prediction of an item."""
        return self.classes[self.labels[i]], self.classes[self.predicted[i]]


def read(path: Path) -> dict[str, Judged | Measured]:
    """What a predictions file says of each test split, by its name. Raises IceboxError for a file that is none."""
    stored = prediction_file.read(path)
    return {name: of_split(stored, split) for name, split in stored.splits.items() if name.startswith("test")}


def of_split(stored: StoredPredictions, split: StoredSplit) -> Judged | Measured:
    """One split, of a classification or a regression."""
    if not stored.classes:
        return Measured(split.item_ids, split.labels, split.predicted)
    sure = (chosen if stored.has_probabilities else lead)(split.scores, split.predicted)
    measure = "confidence" if stored.has_probabilities else "margin"
    return Judged(stored.classes, split.item_ids, split.labels, split.predicted, sure, measure)


def chosen(values: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The value (n,) that each row of (n, k) has for its predicted class."""
    picked: np.ndarray = values[np.arange(len(values)), predicted]
    return picked


def lead(scores: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """How far (n,) the predicted class's score lies above the best of the others."""
    others = scores.copy()
    others[np.arange(len(scores)), predicted] = -np.inf
    ahead: np.ndarray = chosen(scores, predicted) - others.max(axis=1, initial=-np.inf)
    return ahead


def pairs(judged: Judged, limit: int) -> list[dict[str, Any]]:
    """The commonest confusions: actual and predicted class, how often, and that as a share of the actual class."""
    counts = judged.confusion()
    wrong = counts * (1 - np.eye(len(counts), dtype=np.int64))
    order = [divmod(int(i), len(counts)) for i in np.argsort(-wrong, axis=None, kind="stable")[:limit]]
    found = [(a, p) for a, p in order if wrong[a, p]]
    return [
        {
            "actual": judged.classes[a],
            "predicted": judged.classes[p],
            "count": int(wrong[a, p]),
            "share": float(wrong[a, p] / counts[a].sum()),
        }
        for a, p in found
    ]


def by_class(judged: Judged) -> list[dict[str, Any]]:
    """Items, precision, recall and F1 of each class; None where nothing was predicted, or nothing is there."""
    counts = judged.confusion()
    hits, actual, predicted = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    return [
        {
            "class": name,
            "n": int(n),
            "precision": float(hit / said) if said else None,
            "recall": float(hit / n) if n else None,
            "f1": float(2 * hit / (n + said)) if n + said else None,
        }
        for name, hit, n, said in zip(judged.classes, hits, actual, predicted, strict=True)
    ]


def calibration(judged: Judged) -> list[dict[str, float]]:
    """The calibration curve: bins of equal width with their items, mean confidence and share of right answers."""
    bins = np.minimum((judged.sure * BINS).astype(np.int64), BINS - 1)
    return [
        {
            "n": int((bins == b).sum()),
            "confidence": round(float(judged.sure[bins == b].mean()), 4),
            "right": round(float(judged.right[bins == b].mean()), 4),
        }
        for b in np.unique(bins)
    ]


def commonest(labels: Iterable[str]) -> tuple[str, float]:
    """The commonest label and its share: what always answering it would score. Among equals the first by name."""
    counts = Counter(labels)
    best = min(counts, key=lambda label: (-counts[label], label))
    return best, counts[best] / counts.total()
