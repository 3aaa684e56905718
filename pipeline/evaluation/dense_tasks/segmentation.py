"""Predicted masks beside the true ones: the counts of each picture, and the metrics of a segmentation.

Letters: n pictures, b draws, k classes, h height, w width in pixels.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from icebox.features.abc.targets import IGNORED

BITS = 64  # classes whose boundaries are looked at at once
TOLERANCE = 0.0075  # of a picture's diagonal: how far a boundary may lie from the true one (Csurka et al. 2013)


@dataclass(frozen=True)
class SegmentationSample:
    """n pictures: how often each class was taken for each, `confusions` (n, k, k) int32; rows are actual, columns
    predicted classes, and ignored pixels are left out.

    `boundary_scores` (n,): see `boundary_score`; None where they were not computed. `weights` (b, n) float32: how often
    each of b draws holds a picture.
    """

    confusions: np.ndarray
    boundary_scores: np.ndarray | None = None
    weights: np.ndarray | None = None

    task: Literal["segmentation"] = "segmentation"
    has_probabilities = False

    def __len__(self) -> int:
        return len(self.confusions)

    def reweighted(self, weights: np.ndarray) -> "SegmentationSample":
        """These pictures under weights (b, n)."""
        sample = replace(self, weights=weights)
        sample.__dict__["_counts"] = self._counts
        return sample

    def part(self, items: np.ndarray) -> "SegmentationSample":
        """The pictures at these positions, each once."""
        boundaries = None if self.boundary_scores is None else self.boundary_scores[items]
        return SegmentationSample(self.confusions[items], boundaries)

    def differs(self, other: "SegmentationSample") -> np.ndarray:
        """Whether two heads' counts differ (n,) bool."""
        differing: np.ndarray = (self.confusions != other.confusions).any(axis=(1, 2))
        if self.boundary_scores is not None and other.boundary_scores is not None:
            differing |= self.boundary_scores != other.boundary_scores
        return differing

    def joined(self, other: "SegmentationSample") -> "SegmentationSample":
        """These pictures, each once, and behind them those of `other`."""
        boundaries = None
        if self.boundary_scores is not None and other.boundary_scores is not None:
            boundaries = np.concatenate([self.boundary_scores, other.boundary_scores])
        return SegmentationSample(np.concatenate([self.confusions, other.confusions]), boundaries)

    def require_finite(self) -> None:
        """Nothing: counts are finite."""

    @cached_property
    def _counts(self) -> np.ndarray:
        """Of each picture the pixels of each class that are right, that are the class's, and that are predicted
        (n, 3, k)."""
        hits = np.diagonal(self.confusions, axis1=1, axis2=2)
        return np.stack([hits, self.confusions.sum(axis=2), self.confusions.sum(axis=1)], axis=1).astype(np.float64)

    @cached_property
    def _totals(self) -> np.ndarray:
        """The counts of all pictures (3, k), or of those of each draw (b, 3, k)."""
        if self.weights is None:
            totals: np.ndarray = self._counts.sum(axis=0)
            return totals
        drawn: np.ndarray = np.tensordot(self.weights, self._counts, axes=1)
        return drawn

    @property
    def hits(self) -> np.ndarray:
        """Right pixels by class."""
        return self._totals[..., 0, :]

    @property
    def label_counts(self) -> np.ndarray:
        """Pixels by true class."""
        return self._totals[..., 1, :]

    @property
    def prediction_counts(self) -> np.ndarray:
        """Pixels by predicted class."""
        return self._totals[..., 2, :]

    @property
    def confusion(self) -> np.ndarray:
        """Pixels (k, k) of all pictures; rows are actual, columns predicted classes."""
        total: np.ndarray = self.confusions.sum(axis=0, dtype=np.int64)
        return total

    @property
    def item_scores(self) -> np.ndarray:
        """The mean IoU (n,) of each picture by itself; 1 where it has no pixel that counts."""
        hits, of_class, predicted = np.moveaxis(self._counts, 1, 0)
        unions = of_class + predicted - hits
        ious = (hits / np.maximum(unions, 1)).sum(axis=1)
        return np.where((unions > 0).any(axis=1), ious / np.maximum((unions > 0).sum(axis=1), 1), 1.0)

    def by_class(self, classes: Sequence[str]) -> list[dict[str, Any]]:
        """Pixels, IoU, precision and recall of each class; None where it was never predicted, or has no pixels."""
        counted = zip(classes, self.hits, self.label_counts, self.prediction_counts, strict=True)
        return [
            {
                "class": name,
                "n": int(n),
                "iou": float(hits / (n + predicted - hits)) if n + predicted else None,
                "precision": float(hits / predicted) if predicted else None,
                "recall": float(hits / n) if n else None,
            }
            for name, hits, n, predicted in counted
        ]

    def constant(self) -> tuple[int, "SegmentationSample"]:
        """The class with the most pixels, and the sample of an answer that gives it to every pixel. Among equals the
        first wins."""
        answer = int(self.label_counts.argmax())
        confusions = np.zeros_like(self.confusions)
        confusions[:, :, answer] = self.confusions.sum(axis=2)
        return answer, SegmentationSample(confusions)

    def columns(self) -> dict[str, Any]:
        """Its columns in a file of predictions."""
        n = len(self)
        flat = {"confusions": self.confusions.reshape(n, -1).astype(np.int32)}
        return flat if self.boundary_scores is None else flat | {"boundary_score": self.boundary_scores}

    @classmethod
    def of_columns(cls, columns: Mapping[str, Any]) -> "SegmentationSample":
        """The sample of the columns of a file."""
        flat = np.asarray(columns["confusions"])
        k = math.isqrt(flat.shape[1])
        if (flat < 0).any():
            raise ValueError("counts below 0")
        scores = columns.get("boundary_score")
        return cls(flat.reshape(len(flat), k, k), None if scores is None else np.asarray(scores, np.float64))


def mean_iou(sample: SegmentationSample) -> Any:
    """The mean over classes of intersection over union, of all pictures' pixels together (mIoU, Jaccard index); of
    the classes that labels or predictions have."""
    unions = sample.label_counts + sample.prediction_counts - sample.hits
    return (sample.hits / np.maximum(unions, 1)).sum(axis=-1) / np.maximum((unions > 0).sum(axis=-1), 1)


def pixel_accuracy(sample: SegmentationSample) -> Any:
    """The share of right pixels."""
    return sample.hits.sum(axis=-1) / np.maximum(sample.label_counts.sum(axis=-1), 1)


def boundary_f1(sample: SegmentationSample) -> Any:
    """The mean over pictures of `boundary_score`."""
    scores = sample.boundary_scores
    assert scores is not None
    return scores.mean() if sample.weights is None else sample.weights @ scores / sample.weights.sum(axis=1)


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """How often each class was taken for each (k, k) int32, of two masks (h, w) of class numbers."""
    counted = truth != IGNORED
    pairs = truth[counted].astype(np.int64) * classes + predicted[counted]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes).astype(np.int32)


def boundary_score(truth: np.ndarray, predicted: np.ndarray) -> float:
    """The mean boundary F1 of the classes of a picture (Csurka et al. 2013), of two masks (h, w) of class numbers.

    Of a class, precision is the share of its predicted boundary that lies within TOLERANCE of its true one, and recall
    the share of the true one that lies so near the predicted. A boundary with ignored pixels is none. A picture where
    neither mask has any boundary counts 1.
    """
    counted = truth != IGNORED
    predicted = np.where(counted, predicted, IGNORED)
    of_truth, of_answer = boundary(truth, counted), boundary(predicted, counted)
    reach = TOLERANCE * math.hypot(*truth.shape)
    scores: list[float] = []
    classes = int(max(truth.max(initial=0), predicted.max(initial=0))) + 1
    for first in range(0, classes, BITS):
        recall, precision = (
            shares_near(mask, edge, other_mask, other_edge, first, reach)
            for mask, edge, other_mask, other_edge in (
                (truth, of_truth, predicted, of_answer),
                (predicted, of_answer, truth, of_truth),
            )
        )
        there = ~(np.isnan(recall) & np.isnan(precision))
        r, p = np.nan_to_num(recall[there]), np.nan_to_num(precision[there])
        scores += (2 * p * r / np.where(p + r > 0, p + r, 1)).tolist()
    return float(np.mean(scores)) if scores else 1.0


def shares_near(
    mask: np.ndarray, edge: np.ndarray, other_mask: np.ndarray, other_edge: np.ndarray, first: int, reach: float
) -> np.ndarray:
    """Of BITS classes from `first` on, the share of each one's boundary (h, w) bool that lies within `reach` of the
    other mask's of the same class (BITS,); NaN of a class without any."""
    of_block = other_edge & (other_mask >= first) & (other_mask < first + BITS)
    bits = np.where(of_block, np.uint64(1) << (other_mask - first).clip(0, BITS - 1).astype(np.uint64), np.uint64(0))
    numbers = mask[edge] - first
    in_block = (numbers >= 0) & (numbers < BITS)
    numbers = numbers[in_block].astype(np.int64)
    hits = dilated(bits, reach)[edge][in_block] >> numbers.astype(np.uint64) & np.uint64(1)
    totals = np.bincount(numbers, minlength=BITS)
    near = np.bincount(numbers, weights=hits.astype(np.float64), minlength=BITS)
    shares: np.ndarray = np.where(totals > 0, near / np.maximum(totals, 1), np.nan)
    return shares


def dilated(bits: np.ndarray, reach: float) -> np.ndarray:
    """Every bit of an image (h, w) of whole numbers in all places within `reach` of it."""
    h, w = bits.shape
    result, wide, across = np.zeros_like(bits), bits.copy(), 0
    for down in range(min(int(reach), h - 1), -1, -1):
        while across < min(int(math.sqrt(reach**2 - down**2)), w - 1):  # a disk's rows, the shortest first
            across += 1
            wide[:, across:] |= bits[:, :-across]
            wide[:, :-across] |= bits[:, across:]
        result[down:] |= wide[: h - down]
        result[: h - down] |= wide[down:]
    return result


def boundary(mask: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Whether each counted pixel (h, w) bool has a counted neighbor, of four, of another class."""
    edge = np.zeros(mask.shape, bool)
    for here, there in (
        ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
    ):
        differs = (mask[here] != mask[there]) & counted[here] & counted[there]
        edge[here] |= differs
        edge[there] |= differs
    return edge
