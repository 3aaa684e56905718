"""Predicted boxes of a picture matched with the true ones, by pycocotools.

Letters: m boxes, t IoU thresholds, a ranges of size, k classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from icebox.features.abc.targets import Boxes
from icebox.features.errors import IceboxError
from icebox.pipeline.evaluation.dense_tasks.detection import (
    ASIDE,
    BOXES_MAX,
    RIGHT,
    SIZES,
    THRESHOLDS,
    WRONG,
    DetectionSample,
)


@dataclass(frozen=True)
class Detections:
    """Predicted boxes of one picture, the surest first: corners (m, 4) float32 in its own pixels, class numbers (m,)
    and scores (m,)."""

    corners: np.ndarray
    labels: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)


def match(truth: Boxes, predicted: Detections, classes: int) -> tuple[Detections, np.ndarray, np.ndarray]:
    """The predictions of a picture that count, BOXES_MAX of each class at most, their matches (m, a, t), and the true
    boxes that count (a, k); by pycocotools."""
    evaluation = coco_evaluation()
    evaluation.params.areaRng = [list(bounds) for bounds in SIZES.values()]
    evaluation.params.iouThrs = THRESHOLDS
    kept: list[np.ndarray] = []
    outcomes: list[np.ndarray] = []
    counts = np.zeros((len(SIZES), classes), np.int32)
    boxes = to_coco(truth.corners)
    detections = to_coco(predicted.corners)
    for number in np.union1d(truth.labels, predicted.labels).tolist():
        actual = np.flatnonzero(truth.labels == number)
        rows = np.flatnonzero(predicted.labels == number)
        rows = rows[np.argsort(-predicted.scores[rows], kind="mergesort")][:BOXES_MAX]
        evaluation._gts = {
            (0, number): [
                annotation(i, boxes[j], iscrowd=int(truth.ignored[j]), ignore=int(truth.ignored[j]))
                for i, j in enumerate(actual)
            ]
        }
        evaluation._dts = {
            (0, number): [annotation(i, detections[j], score=float(predicted.scores[j])) for i, j in enumerate(rows)]
        }
        evaluation.ious = {(0, number): evaluation.computeIoU(0, number)}
        outcome = np.zeros((len(rows), len(SIZES), len(THRESHOLDS)), np.uint8)
        for size, bounds in enumerate(SIZES.values()):
            found = evaluation.evaluateImg(0, number, list(bounds), BOXES_MAX)
            if found is None:
                continue
            aside, hit = found["dtIgnore"].astype(bool), found["dtMatches"] > 0
            outcome[:, size] = np.where(aside, ASIDE, np.where(hit, RIGHT, WRONG)).T
            counts[size, number] = int((np.asarray(found["gtIgnore"]) == 0).sum())
        kept.append(rows)
        outcomes.append(outcome)
    rows = np.concatenate([np.empty(0, np.int64), *kept])
    matches = np.concatenate([np.empty((0, len(SIZES), len(THRESHOLDS)), np.uint8), *outcomes])
    order = np.argsort(-predicted.scores[rows], kind="mergesort")
    rows, matches = rows[order], matches[order]
    return Detections(predicted.corners[rows], predicted.labels[rows], predicted.scores[rows]), matches, counts


def annotation(position: int, box: np.ndarray, **further: Any) -> dict[str, Any]:
    """A box (4,) in pycocotools' form; ids begin with 1, since 0 is no match."""
    return {"id": position + 1, "bbox": box.tolist(), "area": float(box[2] * box[3]), **further}


def to_coco(corners: np.ndarray) -> np.ndarray:
    """Left, upper, right, lower (m, 4) → left, upper, width, height (m, 4) float64."""
    corners = corners.astype(np.float64).reshape(-1, 4)
    return np.column_stack([corners[:, :2], corners[:, 2:] - corners[:, :2]])


def coco_evaluation() -> Any:
    """pycocotools' evaluation. Raises IceboxError where it is not installed."""
    try:
        from pycocotools.cocoeval import COCOeval
    except ImportError as reason:
        raise IceboxError(
            "boxes are scored by pycocotools, which is not installed; run: pip install 'icebox[detection]'"
        ) from reason
    return COCOeval(iouType="bbox")


def sample_of(pictures: Sequence[tuple[Detections, np.ndarray, np.ndarray]]) -> DetectionSample:
    """The sample of pictures that were matched."""
    lengths = [len(detections) for detections, _, _ in pictures]
    return DetectionSample(
        np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
        np.concatenate([detections.labels for detections, _, _ in pictures]).astype(np.int64),
        np.concatenate([detections.scores for detections, _, _ in pictures]).astype(np.float32),
        np.concatenate([matches for _, matches, _ in pictures]),
        np.stack([counts for _, _, counts in pictures]),
    )
