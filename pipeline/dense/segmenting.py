"""Masks from scores of cells: upsampled to the picture's own size, tiles averaged where they overlap.

Letters: h height, w width, in cells of a map or pixels of a picture; k classes.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from icebox.features.images.regions import Region
from icebox.pipeline.data.dense import DenseData
from icebox.pipeline.data.maps import resize
from icebox.pipeline.dense.base import cell_scores
from icebox.pipeline.evaluation.dense_tasks import dense, segmentation
from icebox.pipeline.evaluation.dense_tasks.dense import DensePredictions, ScoredPictures
from icebox.pipeline.evaluation.dense_tasks.segmentation import SegmentationSample


def predict(head: Any, data: DenseData, items: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(position, mask (h, w) of class numbers in the picture's own size) of each of these pictures, in their order.

    Maps are read a piece at a time.
    """
    step = data.maps.piece
    for start in range(0, len(items), step):
        piece = items[start : start + step]
        by_view = [cell_scores(head, data.maps.read(piece, view), len(data.classes)) for view in data.scored_views]
        for i, item in enumerate(piece.tolist()):
            parts = [
                (data.region(item, view), scores[i]) for view, scores in zip(data.scored_views, by_view, strict=True)
            ]
            h, w = data.targets.sizes[item].tolist()
            yield item, stitched(parts, (h, w))


def stitched(parts: Sequence[tuple[Region, np.ndarray]], size: tuple[int, int]) -> np.ndarray:
    """The mask (h, w) int16 of a picture of `size`, of scores (h', w', k) of each part of it: bilinear to the part's
    own size, averaged where parts overlap, then the largest. Parts cover the picture."""
    if len(parts) == 1:
        region, scores = parts[0]
        return largest(upsampled(scores, region))
    totals, counts = np.zeros((*size, parts[0][1].shape[-1]), np.float32), np.zeros((*size, 1), np.float32)
    for region, scores in parts:
        place = np.s_[region.upper : region.lower, region.left : region.right]
        totals[place] += upsampled(scores, region)
        counts[place] += 1
    return largest(totals / counts)


def largest(scores: np.ndarray) -> np.ndarray:
    """The class with the largest score (h, w) int16 of each pixel's (h, w, k)."""
    mask: np.ndarray = scores.argmax(axis=-1).astype(np.int16)
    return mask


def upsampled(scores: np.ndarray, region: Region) -> np.ndarray:
    """Scores (h', w', k) at the size of their part of the picture, as the picture has it."""
    fine: np.ndarray = resize(scores[None], (region.height, region.width))[0]
    return np.flip(fine, axis=1) if region.mirrored else fine


def score(head: Any, data: DenseData, items: np.ndarray, *, choosing: str = "") -> ScoredPictures:
    """The masks of these pictures, and their scores. With `choosing`, only what that metric needs is computed and kept,
    as for a candidate of a search."""
    return score_masks(data, items, (mask for _, mask in predict(head, data, items)), choosing=choosing)


def score_masks(
    data: DenseData, items: np.ndarray, predicted_masks: Iterable[np.ndarray], *, choosing: str = ""
) -> ScoredPictures:
    """Masks that were predicted of these pictures, and their scores; `choosing` as in `score`."""
    counts: list[np.ndarray] = []
    boundaries: list[float] = []
    masks: list[bytes] = []
    with_boundaries = choosing in ("", "boundary_f1")
    for item, predicted in zip(items.tolist(), predicted_masks, strict=True):
        truth = data.mask(item)
        counts.append(segmentation.confusion(truth, predicted, len(data.classes)))
        if with_boundaries:
            boundaries.append(segmentation.boundary_score(truth, predicted))
        if not choosing:
            masks.append(png(predicted))
    sample = SegmentationSample(np.stack(counts), np.array(boundaries) if with_boundaries else None)
    answers = {} if choosing else {"mask": masks}
    return dense.score(DensePredictions(data.classes, data.item_ids[items].tolist(), sample, answers))


def png(mask: np.ndarray) -> bytes:
    """A mask (h, w) of class numbers as a PNG of grey values, of 16 bits where there are more than 256."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8 if mask.max(initial=0) < 256 else np.uint16)).save(stream, "PNG")
    return stream.getvalue()
