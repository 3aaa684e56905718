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
    actual, answered = boundary(truth, counted), boundary(np.where(counted, predicted, IGNORED), counted)
    reach = TOLERANCE * math.hypot(*truth.shape)
    scores = []
    for number in np.union1d(truth[actual], predicted[answered]):
        of_truth, of_answer = (
            np.argwhere(edge & (mask == number)) for edge, mask in ((actual, truth), (answered, predicted))
        )
        if len(of_truth) and len(of_answer):
            precision, recall = near(of_answer, of_truth, reach), near(of_truth, of_answer, reach)
            scores.append(2 * precision * recall / (precision + recall) if precision + recall else 0.0)
        else:
            scores.append(0.0)
    return float(np.mean(scores)) if scores else 1.0


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


def near(points: np.ndarray, others: np.ndarray, reach: float) -> float:
    """The share of points (m, 2) that lie within `reach` of any of the others."""
    from scipy.spatial import cKDTree

    distances, _ = cKDTree(others).query(points, distance_upper_bound=reach + 1e-9)
    return float(np.isfinite(distances).mean())
