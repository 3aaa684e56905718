"""Boxes as maps for a network to learn, and a network's maps as boxes.

Each object is a peak on its class's heat map; around it each cell says how far the box's four sides are, as in TTFNet
(Liu et al. 2020, arXiv 1909.00700), CenterNet's form (Zhou et al. 2019) with distances instead of sizes.

Letters: b pictures, m boxes, k classes, h height, w width in cells.
"""

import math
from dataclasses import dataclass

import numpy as np

from icebox.features.abc.targets import Boxes
from icebox.features.images.regions import Region
from icebox.pipeline.dense.matching import Detections

SPREAD = 0.54 / 6  # of a box's side: the deviation of its peak
LEAST_SPREAD = 1 / 3  # of a cell
REACH = 0.05  # the height of the peak down to which a cell learns the box
KEPT = 1e-4  # lower parts of a peak are 0
NOT_LEARNT = np.nextafter(np.float32(1), np.float32(0))  # so near a peak of 1 the focal loss counts no background


@dataclass(frozen=True)
class BoxTargets:
    """Of one picture in one view: `heat` (k, h, w); the box (4, h, w) that each cell learns, in cells, and its weight
    (h, w); all float32."""

    heat: np.ndarray
    corners: np.ndarray
    weights: np.ndarray


def within(boxes: Boxes, region: Region) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Corners (m, 4), as shares of the view's width and height, class numbers (m,) and whether they are ignored (m,) of
    the boxes that a view shows: their centre, or, of those that are ignored, any part."""
    start, end = np.array([region.left, region.upper]), np.array([region.right, region.lower])
    centre = (boxes.corners[:, :2] + boxes.corners[:, 2:]) / 2
    shown = (centre >= start).all(axis=1) & (centre < end).all(axis=1)
    shown |= boxes.ignored & (boxes.corners[:, 2:] > start).all(axis=1) & (boxes.corners[:, :2] < end).all(axis=1)
    shown &= (boxes.corners[:, 2:] > boxes.corners[:, :2]).all(axis=1)
    offset, extent = np.array([region.left, region.upper] * 2), np.array([region.width, region.height] * 2)
    corners = np.clip((boxes.corners[shown] - offset) / extent, 0, 1)
    if region.mirrored:
        corners = np.column_stack([1 - corners[:, 2], corners[:, 1], 1 - corners[:, 0], corners[:, 3]])
    return corners.astype(np.float32), boxes.labels[shown], boxes.ignored[shown]


def targets(
    corners: np.ndarray, labels: np.ndarray, ignored: np.ndarray, classes: int, size: tuple[int, int]
) -> BoxTargets:
    """The targets of boxes (m, 4), as shares of the map's extent, on a map of this size; of boxes that share a cell the
    smaller is learnt. Where a box is ignored, its class is neither learnt nor taken for background."""
    h, w = size
    heat, learnt = np.zeros((classes, h, w), np.float32), np.zeros((4, h, w), np.float32)
    weights = np.zeros((h, w), np.float32)
    boxes = corners.astype(np.float64) * [w, h, w, h]
    sides = boxes[:, 2:] - boxes[:, :2]
    y, x = np.arange(h)[:, None], np.arange(w)[None]
    for box in np.argsort(-sides.prod(axis=1), kind="stable").tolist():
        of_class = heat[labels[box]]
        column, row = np.minimum(((boxes[box, :2] + boxes[box, 2:]) / 2).astype(np.int64), [w - 1, h - 1])
        if ignored[box]:
            (left, upper), (right, lower) = np.floor(boxes[box, :2]).astype(int), np.ceil(boxes[box, 2:]).astype(int)
            np.maximum(of_class[upper:lower, left:right], NOT_LEARNT, out=of_class[upper:lower, left:right])
            continue
        spread = np.maximum(SPREAD * sides[box], LEAST_SPREAD)
        peak = np.exp(-(((x - column) / spread[0]) ** 2 + ((y - row) / spread[1]) ** 2) / 2).astype(np.float32)
        peak[peak < KEPT] = 0
        np.maximum(of_class, peak, out=of_class)
        near = peak > REACH
        learnt[:, near] = boxes[box][:, None]
        # all sizes count: large boxes have more cells, and their logarithm makes up for none of them
        weights[near] = peak[near] / peak[near].sum() * math.log(2 + sides[box].prod())
    return BoxTargets(heat, learnt, weights)


def suppressed(detections: Detections, overlap: float) -> Detections:
    """The detections, the surest first, without those that overlap a surer one of their class by an IoU above
    `overlap`; by torchvision where its operator works."""
    from icebox.features import compat

    if compat.allow_mismatched_torchvision() is None:
        import torch
        from torchvision.ops import batched_nms

        corners, scores, labels = (
            torch.from_numpy(np.ascontiguousarray(values))
            for values in (detections.corners, detections.scores, detections.labels)
        )
        rows = batched_nms(corners.float(), scores.float(), labels, overlap).numpy()
    else:
        rows = greedy_suppression(detections, overlap)
    return Detections(detections.corners[rows], detections.labels[rows], detections.scores[rows])


def greedy_suppression(detections: Detections, overlap: float) -> np.ndarray:
    """Positions of the detections that `suppressed` keeps, the surest first."""
    kept: list[int] = []
    for i in np.argsort(-detections.scores, kind="stable").tolist():
        rivals = [j for j in kept if detections.labels[j] == detections.labels[i]]
        if not rivals or (ious(detections.corners[i], detections.corners[rivals]) <= overlap).all():
            kept.append(i)
    return np.array(kept, np.int64)


def ious(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The intersection over union (m,) of a box (4,) with others (m, 4)."""
    common = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    intersections = np.clip(common, 0, None).prod(axis=1)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    shares: np.ndarray = intersections / np.maximum(areas - intersections, np.finfo(np.float32).tiny)
    return shares
