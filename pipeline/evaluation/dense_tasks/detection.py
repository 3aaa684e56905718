"""Predicted boxes beside the true ones: the matches of each picture, and the metrics of a detection, as COCO has them.

Letters: n pictures, b draws, k classes, m boxes, t IoU thresholds, a ranges of size, r points of recall.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
SIZES = {  # name → least and largest area in pixels
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
BOXES_MAX = 100  # of a picture, the surest of each class
WRONG, RIGHT, ASIDE = 0, 1, 2  # a prediction by its match: none, one that counts, or one that neither helps nor harms
BLOCK = 4_000_000  # numbers of a block of draws


@dataclass(frozen=True)
class DetectionSample:
    """n pictures: of each its predictions' class numbers (m,), scores (m,) and `matches` (m, a, t) uint8 (WRONG, RIGHT
    or ASIDE), all pictures' end to end, picture i's from `offsets[i]` to `offsets[i + 1]`; and its true boxes that
    count, by size and class, `truths` (n, a, k) int32.

    `weights` (b, n): how often each of b draws holds a picture.
    """

    offsets: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    matches: np.ndarray
    truths: np.ndarray
    weights: np.ndarray | None = None

    task: Literal["detection"] = "detection"
    has_probabilities = False

    def __len__(self) -> int:
        return len(self.truths)

    def reweighted(self, weights: np.ndarray) -> "DetectionSample":
        """These pictures under weights (b, n)."""
        sample = replace(self, weights=weights)
        sample.__dict__["_orders"] = self._orders
        return sample

    def part(self, items: np.ndarray) -> "DetectionSample":
        """The pictures at these positions, each once."""
        rows = [np.arange(self.offsets[i], self.offsets[i + 1]) for i in items.tolist()]
        kept = np.concatenate([np.empty(0, np.int64), *rows])
        offsets = np.concatenate([[0], np.cumsum([len(each) for each in rows], dtype=np.int64)])
        return DetectionSample(offsets, self.labels[kept], self.scores[kept], self.matches[kept], self.truths[items])

    def differs(self, other: "DetectionSample") -> np.ndarray:
        """Whether two heads' predictions differ (n,) bool."""
        return np.array(
            [
                a.stop - a.start != b.stop - b.start
                or any(
                    (mine[a] != theirs[b]).any()
                    for mine, theirs in (
                        (self.labels, other.labels), (self.scores, other.scores), (self.matches, other.matches)
                    )
                )
                for a, b in ((self._rows(i), other._rows(i)) for i in range(len(self)))
            ]
        )  # fmt: skip

    def _rows(self, i: int) -> slice:
        return slice(int(self.offsets[i]), int(self.offsets[i + 1]))

    def joined(self, other: "DetectionSample") -> "DetectionSample":
        """These pictures, each once, and behind them those of `other`."""
        return DetectionSample(
            np.concatenate([self.offsets, self.offsets[-1] + other.offsets[1:]]),
            np.concatenate([self.labels, other.labels]),
            np.concatenate([self.scores, other.scores]),
            np.concatenate([self.matches, other.matches]),
            np.concatenate([self.truths, other.truths]),
        )

    def require_finite(self) -> None:
        """Raise ValueError for scores that are no numbers."""
        if not np.isfinite(self.scores).all():
            raise ValueError("Predictions contain NaN or infinity.")

    @property
    def classes(self) -> int:
        """k."""
        return int(self.truths.shape[2])

    @cached_property
    def pictures(self) -> np.ndarray:
        """The picture (m,) of each prediction."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    @cached_property
    def _orders(self) -> list[np.ndarray]:
        """The predictions of each class, the surest first; equally sure ones in the pictures' order."""
        return [
            (of_class := np.flatnonzero(self.labels == number))[np.argsort(-self.scores[of_class], kind="mergesort")]
            for number in range(self.classes)
        ]

    def precisions(self, number: int, *, size: int = 0, thresholds: int = len(THRESHOLDS)) -> np.ndarray | None:
        """The mean precision over RECALLS of a class (b, t), or (t,), at the first so many thresholds; NaN on draws
        without a true box. None where no picture has any."""
        truths = self.truths[:, size, number].astype(np.float64)
        if not truths.any():
            return None
        order = self._orders[number]
        weights = np.ones((1, len(self))) if self.weights is None else self.weights.astype(np.float64)
        values = np.empty((len(weights), thresholds))
        step = max(1, BLOCK // max(len(order), 1))
        for start in range(0, len(weights), step):
            drawn = weights[start : start + step]
            of_rows = drawn[:, self.pictures[order]]
            for threshold in range(thresholds):
                outcome = self.matches[order, size, threshold]
                values[start : start + step, threshold] = mean_precision(of_rows, outcome, drawn @ truths)
        return values[0] if self.weights is None else values

    def recalls(self, number: int) -> np.ndarray | None:
        """The share of a class's true boxes that are found (b, t), or (t,); None where no picture has any."""
        truths = self.truths[:, 0, number].astype(np.float64)
        if not truths.any():
            return None
        rows = self._orders[number]
        found = np.zeros((len(self), len(THRESHOLDS)))
        np.add.at(found, self.pictures[rows], self.matches[rows, 0] == RIGHT)
        if self.weights is None:
            shares: np.ndarray = found.sum(axis=0) / truths.sum()
            return shares
        drawn = self.weights.astype(np.float64)
        with np.errstate(invalid="ignore"):
            shares = (drawn @ found) / (drawn @ truths)[:, None]
        return shares

    @property
    def item_scores(self) -> np.ndarray:
        """The F1 (n,) of each picture at IoU 0.5, of the predictions at least half as sure as the surest of the class;
        1 where it has no true box and no such prediction."""
        surest = np.array([self.scores[order[0]] if len(order) else 0 for order in self._orders])
        sure = self.scores >= surest[self.labels] / 2 if len(self.labels) else np.empty(0, bool)
        outcome = self.matches[:, 0, 0]
        right, wrong = (
            np.bincount(self.pictures[sure & (outcome == kind)], minlength=len(self)) for kind in (RIGHT, WRONG)
        )
        total = right + wrong + self.truths[:, 0].sum(axis=1)
        f1: np.ndarray = np.where(total > 0, 2 * right / np.maximum(total, 1), 1.0)
        return f1

    def by_class(self, classes: Sequence[str]) -> list[dict[str, Any]]:
        """True boxes, AP, AP50, recall at IoU 0.5 and AP by size of each class; None where it has no such box."""
        lines = []
        for number, name in enumerate(classes):
            precisions, recalls = self.precisions(number), self.recalls(number)
            by_size = {f"ap_{size}": self.precisions(number, size=i) for i, size in enumerate(SIZES) if i}
            lines.append(
                {
                    "class": name,
                    "n": int(self.truths[:, 0, number].sum()),
                    "ap": None if precisions is None else float(precisions.mean()),
                    "ap50": None if precisions is None else float(precisions[0]),
                    "recall": None if recalls is None else float(recalls[0]),
                    **{size: None if each is None else float(each.mean()) for size, each in by_size.items()},
                }
            )
        return lines

    def columns(self) -> dict[str, Any]:
        """Its columns in a file of predictions."""
        n = len(self)
        flat = self.matches.reshape(len(self.matches), len(SIZES) * len(THRESHOLDS))
        return {
            "truths": self.truths.reshape(n, -1).astype(np.int32),
            "labels": [self.labels[self._rows(i)].astype(np.int32) for i in range(n)],
            "scores": [self.scores[self._rows(i)].astype(np.float32) for i in range(n)],
            "matches": [flat[self._rows(i)].ravel() for i in range(n)],
        }

    @classmethod
    def of_columns(cls, columns: Mapping[str, Any]) -> "DetectionSample":
        """The sample of the columns of a file."""
        truths = np.asarray(columns["truths"])
        lengths = [len(each) for each in columns["scores"]]
        matches = np.concatenate([np.empty(0, np.uint8), *columns["matches"]]).astype(np.uint8)
        sample = cls(
            np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
            np.concatenate([np.empty(0, np.int64), *columns["labels"]]).astype(np.int64),
            np.concatenate([np.empty(0, np.float32), *columns["scores"]]).astype(np.float32),
            matches.reshape(-1, len(SIZES), len(THRESHOLDS)),
            truths.reshape(len(truths), len(SIZES), -1),
        )
        if len({len(sample.labels), len(sample.scores), len(sample.matches)}) > 1 or (matches > ASIDE).any():
            raise ValueError("predictions that do not belong together")
        if (sample.truths < 0).any() or ((sample.labels < 0) | (sample.labels >= sample.classes)).any():
            raise ValueError("counts or classes below 0 or beyond the last")
        return sample


def mean_precision(weights: np.ndarray, outcome: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """The precision at each of RECALLS, at that recall or beyond, on average (b,): of predictions (m,), the surest
    first, with their outcomes (m,) and weights (b, m), and so many true boxes (b,). NaN where there are none."""
    right = np.cumsum(weights * (outcome == RIGHT), axis=1)
    wrong = np.cumsum(weights * (outcome == WRONG), axis=1)
    with np.errstate(invalid="ignore"):
        recall = right / truths[:, None]
        precision = right / (right + wrong + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    values = np.zeros((len(weights), len(RECALLS)))
    for draw in range(len(weights)):
        at = np.searchsorted(recall[draw], RECALLS, side="left")
        reached = at < recall.shape[1]
        values[draw, reached] = precision[draw, at[reached]]
    means: np.ndarray = values.mean(axis=1)
    return np.where(truths > 0, means, np.nan)


def average_precision(sample: DetectionSample) -> Any:
    """The mean precision over RECALLS, over classes and over IoU thresholds of 0.50 to 0.95: COCO's AP."""
    return mean_over_classes(sample, [sample.precisions(number) for number in range(sample.classes)])


def average_precision_50(sample: DetectionSample) -> Any:
    """The mean precision over RECALLS and over classes at an IoU of 0.5: AP50, PASCAL VOC's mAP by COCO's rules."""
    return mean_over_classes(sample, [sample.precisions(number, thresholds=1) for number in range(sample.classes)])


def average_recall(sample: DetectionSample) -> Any:
    """The share of true boxes that are found, over classes and IoU thresholds of 0.50 to 0.95, of at most BOXES_MAX
    predictions a picture and class."""
    return mean_over_classes(sample, [sample.recalls(number) for number in range(sample.classes)])


def mean_over_classes(sample: DetectionSample, by_class: Sequence[np.ndarray | None]) -> Any:
    """The mean over classes that have true boxes, and over thresholds, of a sample's values (b, t), or (t,); 0 where
    none has."""
    present = [each.mean(axis=-1) for each in by_class if each is not None]
    if not present:
        return 0.0 if sample.weights is None else np.zeros(len(sample.weights))
    stacked = np.stack(present)
    known = ~np.isnan(stacked)  # a draw may lack a rare class
    return np.where(known, stacked, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
