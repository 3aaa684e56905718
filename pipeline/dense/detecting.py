"""Boxes from a head's maps, in the pictures' own pixels; those of tiles together, less those found twice.

Letters: h height, w width in cells, k classes, m boxes.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from icebox.features.images.regions import Region
from icebox.pipeline.data.dense import DenseData
from icebox.pipeline.dense import matching
from icebox.pipeline.dense.box_targets import suppressed
from icebox.pipeline.dense.matching import Detections
from icebox.pipeline.evaluation.dense_tasks import dense
from icebox.pipeline.evaluation.dense_tasks.dense import DensePredictions, ScoredPictures


def predict(head: Any, data: DenseData, items: np.ndarray) -> Iterator[tuple[int, Detections]]:
    """(position, boxes in the picture's own pixels) of each of these pictures, in their order.

    Maps are read a piece at a time.
    """
    step = data.maps.piece
    for start in range(0, len(items), step):
        piece = items[start : start + step]
        by_view = [head.predict_maps(data.maps.read(piece, view)) for view in data.scored_views]
        for i, item in enumerate(piece.tolist()):
            parts = [
                (data.region(item, view), heat[i], sides[i])
                for view, (heat, sides) in zip(data.scored_views, by_view, strict=True)
            ]
            h, w = data.targets.sizes[item].tolist()
            yield item, boxes_of(head, parts, (h, w))


def boxes_of(head: Any, parts: Iterable[tuple[Region, np.ndarray, np.ndarray]], size: tuple[int, int]) -> Detections:
    """The boxes of a picture of `size` (height, width), of the heat (h, w, k) and sides (h, w, 4) of each part of it;
    as many, and as far apart, as the head's settings say."""
    found = [peaks(heat, sides, region, head.boxes_max) for region, heat, sides in parts]
    return together(found, size, overlap=head.overlap, most=head.boxes_max)


def peaks(heat: np.ndarray, sides: np.ndarray, region: Region, most: int) -> Detections:
    """The boxes of a part of a picture, at the `most` highest peaks of its heat (h, w, k): cells that none of their
    eight neighbors exceeds. `sides` (h, w, 4) are shares of the part's width and height."""
    if not (np.isfinite(heat).all() and np.isfinite(sides).all()):
        raise ValueError("Predictions contain NaN.")
    h, w, k = heat.shape
    padded = np.pad(heat, ((1, 1), (1, 1), (0, 0)), constant_values=-1)
    around = np.max([padded[i : i + h, j : j + w] for i in range(3) for j in range(3)], axis=0)
    scores = np.where(heat == around, heat, 0).ravel()
    order = np.argsort(-scores, kind="stable")[:most]
    order = order[scores[order] > 0]
    row, column, labels = np.unravel_index(order, (h, w, k))
    centre = np.column_stack([(column + 0.5) / w, (row + 0.5) / h])
    reach = sides[row, column]
    corners = np.concatenate([centre - reach[:, :2], centre + reach[:, 2:]], axis=1)
    if region.mirrored:
        corners = np.column_stack([1 - corners[:, 2], corners[:, 1], 1 - corners[:, 0], corners[:, 3]])
    corners = corners * ([region.width, region.height] * 2) + [region.left, region.upper] * 2
    return Detections(corners.astype(np.float32), labels.astype(np.int64), scores[order].astype(np.float32))


def together(parts: Sequence[Detections], size: tuple[int, int], *, overlap: float, most: int) -> Detections:
    """The boxes of all parts of a picture of `size` (height, width), cut at its borders; the surest first, `most` at
    most, without those that overlap a surer one."""
    corners, labels, scores = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("corners", "labels", "scores")
    )
    h, w = size
    corners = np.clip(corners, 0, [w, h, w, h]).astype(np.float32)
    kept = np.flatnonzero((corners[:, 2:] > corners[:, :2]).all(axis=1))
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    clear = suppressed(Detections(corners[kept], labels[kept], scores[kept]), overlap)
    return Detections(clear.corners[:most], clear.labels[:most], clear.scores[:most])


def score(head: Any, data: DenseData, items: np.ndarray, *, choosing: str = "") -> ScoredPictures:
    """The boxes of these pictures, and their scores. With `choosing`, boxes themselves are not kept."""
    return score_boxes(data, items, (found for _, found in predict(head, data, items)), choosing=choosing)


def score_boxes(
    data: DenseData, items: np.ndarray, predicted: Iterable[Detections], *, choosing: str = ""
) -> ScoredPictures:
    """Boxes that were predicted of these pictures, and their scores; `choosing` as in `score`."""
    matched = [
        matching.match(data.boxes(item), detections, len(data.classes))
        for item, detections in zip(items.tolist(), predicted, strict=True)
    ]
    answers = {} if choosing else {"corners": [detections.corners.ravel() for detections, _, _ in matched]}
    sample = matching.sample_of(matched)
    return dense.score(DensePredictions(data.classes, data.item_ids[items].tolist(), sample, answers))
