"""The floor of boxes: one at every patch of pixels that stands out by its color, nothing but a threshold is learned.

For stores of `color:map` of the backbone `pixels`. Letters: b pictures, h height, w width in cells, k classes, m blobs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import numpy as np
from annotated_types import Ge, Gt, Le
from scipy import ndimage
from sklearn.base import BaseEstimator
from sklearn.naive_bayes import GaussianNB

from icebox.pipeline.data.dense import Pictures
from icebox.pipeline.dense import box_targets
from icebox.pipeline.estimators.base import Unsuitable

TASKS = ("detection",)
WHOLE_MAPS = True
SEARCH = {"box": ["mean", "own"]}  # the grid of an entry without settings
COLOR = "color:"  # the beginning of the outputs that hold red, green and blue
WAYS = ("dark", "saturated", "unlike")
BATCH = 16


def build(
    *,
    box: Literal["mean", "own"] = "mean",
    thresholds: Annotated[int, Ge(1), Le(1000)] = 12,
    overlap: Annotated[float, Gt(0), Le(1)] = 0.6,
    boxes_max: Annotated[int, Ge(1), Le(10_000)] = 100,
    columns: dict[str, list[tuple[int, int]]] | None = None,
) -> "Blobs":
    """Cells that are darker, more saturated or less like the picture's median color than a threshold are joined to
    blobs; which of the three, and which of so many `thresholds`, is chosen by how well blobs and boxes of train meet.
    A blob's class is that of those of its area and color. `box`: around it the mean box of its class, or its own.
    Of boxes of one class that overlap by an IoU above `overlap` the surest stays; `boxes_max` of a picture are kept.
    `columns`, filled in by the stage, are those of the store's outputs."""
    return Blobs(box=box, thresholds=thresholds, overlap=overlap, boxes_max=boxes_max, columns=columns)


@dataclass(frozen=True)
class Found:
    """The blobs of a picture: centres (m, 2) and corners (m, 4), both as shares of its width and height, and their
    logarithmic areas beside their mean colors (m, 4)."""

    centers: np.ndarray
    corners: np.ndarray
    traits: np.ndarray


class Blobs(BaseEstimator):
    """Maps (b, h, w, d), red, green and blue among their columns → boxes of each picture."""

    def __init__(
        self,
        *,
        box: str = "mean",
        thresholds: int = 12,
        overlap: float = 0.6,
        boxes_max: int = 100,
        columns: dict[str, list[tuple[int, int]]] | None = None,
    ) -> None:
        self.box = box
        self.thresholds = thresholds
        self.overlap = overlap
        self.boxes_max = boxes_max
        self.columns = columns

    def fit_maps(self, train: Pictures, val: Pictures | None, class_weights: np.ndarray) -> Self:
        """Choose the threshold, and learn each class's blobs and mean box, on the pictures of train.

        Raises Unsuitable for maps without colors, and ValueError where no blob meets a box.
        """
        starts = [ends[0][0] for output, ends in (self.columns or {}).items() if output.startswith(COLOR)]
        if not starts:
            raise Unsuitable(f"blobs are of colors: store `{COLOR}map` of the backbone pixels, or leave this head out")
        self.start_ = starts[0]
        colors, boxes = [], []
        for pictures, maps in train.batches(BATCH, None):
            colors += list(maps[..., self.start_ : self.start_ + 3])
            for item, view in pictures:
                corners, labels, ignored = box_targets.within(train.data.boxes(item), train.data.region(item, view))
                boxes.append((corners[~ignored], labels[~ignored]))
        best = -1.0
        for way in WAYS:
            strength = [strength_of(picture, way) for picture in colors]
            levels = np.quantile(np.concatenate([each.ravel()[::7] for each in strength]), self._shares())
            for level in np.unique(levels).tolist():
                centers = [centers_of(each > level) for each in strength]
                if (score := agreement(centers, [corners for corners, _ in boxes])) > best:
                    best, self.way_, self.level_ = score, way, level
        self._learn([self._blobs(picture) for picture in colors], boxes, len(train.data.classes))
        return self

    def _shares(self) -> np.ndarray:
        return (np.arange(self.thresholds) + 1) / (self.thresholds + 1)

    def _learn(self, found: list[Found], boxes: list[tuple[np.ndarray, np.ndarray]], k: int) -> None:
        """Fit the classes of blobs, those in no box as class k, and the mean width and height (k, 2) of boxes."""
        met = [nearest_box(each.centers, corners) for each, (corners, _) in zip(found, boxes, strict=True)]
        labels = np.concatenate(
            [np.where(i >= 0, np.append(of_boxes, k)[i], k) for i, (_, of_boxes) in zip(met, boxes, strict=True)]
        )
        if not (labels < k).any():
            raise ValueError("no patch of color lies in a box of train")
        self.classifier_ = GaussianNB(var_smoothing=1e-3).fit(np.concatenate([each.traits for each in found]), labels)
        corners, of_boxes = (np.concatenate(column) for column in zip(*boxes, strict=True))
        sides = corners[:, 2:] - corners[:, :2]
        self.sides_ = np.array([sides[of_boxes == c].mean(0) if (of_boxes == c).any() else [0, 0] for c in range(k)])

    def _blobs(self, colors: np.ndarray) -> Found:
        return blobs_of(colors, strength_of(colors, self.way_) > self.level_)

    def predict_maps(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of maps (b, h, w, d) the heat (b, h, w, k) in 0..1, which is 0 but at the centres of blobs, and how far their
        boxes reach to the left, up, right and down of these, as shares of width and height (b, h, w, 4)."""
        b, h, w, _ = maps.shape
        heat = np.zeros((b, h, w, len(self.sides_)), np.float32)
        reach = np.zeros((b, h, w, 4), np.float32)
        for i, colors in enumerate(maps[..., self.start_ : self.start_ + 3]):
            found = self._blobs(colors)
            for centre, corners, (label, probability) in zip(
                found.centers, found.corners, self._classes(found.traits), strict=True
            ):
                column, row = np.minimum((centre * [w, h]).astype(int), [w - 1, h - 1])
                if label < len(self.sides_) and probability > heat[i, row, column].max():
                    heat[i, row, column] = 0
                    heat[i, row, column, label] = probability
                    half = self.sides_[label] / 2
                    box = corners if self.box == "own" else np.concatenate([centre - half, centre + half])
                    middle = (np.array([column, row]) + 0.5) / [w, h]
                    reach[i, row, column] = np.concatenate([middle - box[:2], box[2:] - middle])
        return heat, reach

    def _classes(self, traits: np.ndarray) -> Iterator[tuple[int, float]]:
        """The likeliest class of each blob, but for that of no box, and its probability."""
        if len(traits):
            known = self.classifier_.classes_ < len(self.sides_)
            probabilities = self.classifier_.predict_proba(traits)[:, known]
            best = probabilities.argmax(1)
            yield from zip(self.classifier_.classes_[known][best].tolist(), probabilities.max(1).tolist(), strict=True)

    def refit_parameters(self) -> dict[str, Any]:
        """None: nothing stops by val."""
        return {}


def strength_of(colors: np.ndarray, way: str) -> np.ndarray:
    """How much each cell (h, w) of colors (h, w, 3) stands out."""
    strength: np.ndarray
    if way == "dark":
        strength = -colors.mean(2)
    elif way == "saturated":
        strength = colors.max(2) - colors.min(2)
    else:
        strength = np.linalg.norm(colors - np.median(colors, axis=(0, 1)), axis=2)
    return strength


def blobs_of(colors: np.ndarray, chosen: np.ndarray) -> Found:
    """The connected patches of chosen cells (h, w)."""
    numbers, m = ndimage.label(chosen)
    if not m:
        return Found(np.empty((0, 2)), np.empty((0, 4)), np.empty((0, 4)))
    h, w = chosen.shape
    index = np.arange(1, m + 1)
    areas = np.bincount(numbers.ravel())[1:]
    slices = ndimage.find_objects(numbers)
    corners = np.array([[x.start, y.start, x.stop, y.stop] for y, x in slices]) / [w, h, w, h]
    means = np.column_stack([ndimage.mean(colors[..., c], numbers, index) for c in range(3)])
    return Found(centers_of(chosen), corners, np.column_stack([np.log(areas / (h * w)), means]))


def nearest_box(centers: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """The smallest of the boxes (corners) that each centre (m, 2) lies in, by its number; -1 where it is in none."""
    if not len(corners):
        return np.full(len(centers), -1)
    inside = np.all((centers[:, None] >= corners[:, :2]) & (centers[:, None] <= corners[:, 2:]), axis=2)
    areas = np.where(inside, (corners[:, 2:] - corners[:, :2]).prod(1), np.inf)
    return np.where(np.isfinite(areas.min(1)), areas.argmin(1), -1)


def centers_of(chosen: np.ndarray) -> np.ndarray:
    """The centres (m, 2) of the connected patches of chosen cells (h, w), as shares of width and height."""
    numbers, m = ndimage.label(chosen)
    rows, columns = np.nonzero(numbers)
    labels = numbers[rows, columns]
    areas = np.bincount(labels, minlength=m + 1)[1:]
    sums = (np.bincount(labels, weights=each + 0.5, minlength=m + 1)[1:] for each in (columns, rows))
    return np.column_stack([each / areas for each in sums]) / [chosen.shape[1], chosen.shape[0]]


def agreement(centers: list[np.ndarray], boxes: list[np.ndarray]) -> float:
    """The F1 of blobs as finds of boxes: a box is found by the first blob whose centre lies in it."""
    hits = sum(len(set(nearest_box(c, b).tolist()) - {-1}) for c, b in zip(centers, boxes, strict=True))
    return 2 * hits / max(sum(map(len, centers)) + sum(map(len, boxes)), 1)
