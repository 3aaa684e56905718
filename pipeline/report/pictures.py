"""The worst pictures of a head of masks or boxes; truth, prediction and difference are layers over them.

Letters: h height, w width in pixels, m boxes, k classes.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from icebox.features.abc.targets import IGNORED, Boxes, Mask, Target
from icebox.features.errors import IceboxError
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.dense.colors import Color, class_colors
from icebox.pipeline.evaluation.dense_tasks.dense import DensePredictions
from icebox.pipeline.evaluation.dense_tasks.detection import RIGHT
from icebox.pipeline.project import paths
from icebox.pipeline.report.thumbnails import Thumbnail, Thumbnails

PICTURES_MAX = 6  # of a head
SIDE_MAX = 320  # pixels
BOXES_MAX = 60  # drawn of a picture
OPACITY = 150  # of 255
WRONG = (220, 40, 40, 200)


@dataclass(frozen=True)
class PictureLayers:
    """A picture of test: its own score, and its layers by name, an image's data URL or the inside of an SVG."""

    item_id: str
    score: float
    thumbnail: Thumbnail
    images: dict[str, str]
    drawings: dict[str, Markup]
    height: int
    width: int


@dataclass(frozen=True)
class DenseDetails:
    """Of a head of masks or boxes: the worst pictures, the scores by class, and each class's color."""

    pictures: list[PictureLayers]
    by_class: list[dict[str, Any]]
    colors: dict[str, str]


def collect(predictions: DensePredictions, store: str, thumbnails: Thumbnails) -> DenseDetails:
    """The details of predictions for test; truth and difference only where the store is on this machine."""
    colors = class_colors(len(predictions.classes))
    targets = targets_of(store)
    pictures = []
    for i in predictions.mistakes(PICTURES_MAX):
        item_id = predictions.item_ids[i]
        thumbnail = thumbnails.get(item_id, side_max=SIDE_MAX)
        if thumbnail.image:
            pictures.append(picture(predictions, i, targets(item_id), thumbnail, colors))
    named = {name: "rgb({}, {}, {})".format(*color) for name, color in zip(predictions.classes, colors, strict=True)}
    return DenseDetails(pictures, predictions.sample.by_class(predictions.classes), named)


def targets_of(store: str) -> Any:
    """A function from an item's id to its target; to None where the store is not here, or is another one by now."""
    try:
        opened = FeatureStore(paths.store(store))
        position = {item_id: i for i, item_id in enumerate(opened.item_ids.tolist())}
        targets = opened.targets
        _ = targets.classes
    except IceboxError:
        return lambda item_id: None
    return lambda item_id: targets[position[item_id]] if item_id in position else None


def picture(
    predictions: DensePredictions,
    i: int,
    target: Target | None,
    thumbnail: Thumbnail,
    colors: Sequence[Color],
) -> PictureLayers:
    """The layers of one picture."""
    images: dict[str, str] = {}
    drawings: dict[str, Markup] = {}
    size = thumbnail.height, thumbnail.width
    if predictions.task == "segmentation":
        predicted = small_mask(np.asarray(Image.open(io.BytesIO(predictions.answers["mask"][i]))), size)
        images["prediction"] = overlay(predicted, colors)
        if isinstance(target, Mask):
            truth = small_mask(target.classes, size)
            images["truth"] = overlay(truth, colors)
            wrong = np.where((truth != predicted) & (truth != IGNORED), 0, IGNORED)
            images["difference"] = overlay(wrong, [WRONG])
    else:
        size = target.size if target is not None else size
        drawings = box_layers(predictions, i, target, colors)
    score = float(1 - predictions.severity[i])
    return PictureLayers(predictions.item_ids[i], score, thumbnail, images, drawings, *size)


def small_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask at another size, of the nearest pixels."""
    rows = (np.arange(size[0]) * mask.shape[0]) // size[0]
    columns = (np.arange(size[1]) * mask.shape[1]) // size[1]
    small: np.ndarray = mask[np.ix_(rows, columns)].astype(np.int32)
    return small


def overlay(mask: np.ndarray, colors: Sequence[Color]) -> str:
    """A mask as a PNG whose ignored pixels are transparent, as a data URL."""
    palette = np.array([(*color[:3], color[3] if len(color) > 3 else OPACITY) for color in colors] + [(0, 0, 0, 0)])
    pixels = palette[np.where(mask == IGNORED, len(colors), mask)].astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels, "RGBA").quantize(256).save(stream, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def box_layers(
    predictions: DensePredictions, i: int, target: Target | None, colors: Sequence[Color]
) -> dict[str, Markup]:
    """The boxes of a picture as rectangles of an SVG in its own pixels: predictions at least half as sure as the surest
    of all pictures' class; in the difference the right ones green, the wrong ones red, the true ones dashed."""
    sample = predictions.sample
    rows = np.arange(sample.offsets[i], sample.offsets[i + 1])
    corners = np.asarray(predictions.answers["corners"][i], np.float64).reshape(-1, 4)
    surest = np.zeros(len(predictions.classes))
    np.maximum.at(surest, sample.labels, sample.scores)
    shown = np.flatnonzero(sample.scores[rows] >= surest[sample.labels[rows]] / 2)[:BOXES_MAX]
    labels, scores = sample.labels[rows], sample.scores[rows]
    right = sample.matches[rows, 0, 0] == RIGHT
    color = ["rgb({}, {}, {})".format(*each[:3]) for each in colors]
    names = predictions.classes
    layers = {
        "prediction": [rectangle(corners[j], color[labels[j]], f"{names[labels[j]]} {scores[j]:.2f}") for j in shown]
    }
    if isinstance(target, Boxes):
        layers["truth"] = [
            rectangle(corner, color[label], names[label])
            for corner, label in zip(target.corners, target.labels, strict=True)
        ]
        dashed = [
            rectangle(corner, "#888", names[label], dashed=True)
            for corner, label in zip(target.corners, target.labels, strict=True)
        ]
        layers["difference"] = dashed + [
            rectangle(corners[j], "#2a9d3a" if right[j] else "#dc2828", f"{names[labels[j]]} {scores[j]:.2f}")
            for j in shown
        ]
    return {name: Markup("".join(rectangles)) for name, rectangles in layers.items()}


def rectangle(corners: np.ndarray, color: str, title: str, *, dashed: bool = False) -> str:
    """A box as a rectangle of an SVG."""
    left, upper, right, lower = (round(float(each), 1) for each in corners)
    dash = ' stroke-dasharray="6 4"' if dashed else ""
    return (
        f'<rect x="{left}" y="{upper}" width="{right - left:.1f}" height="{lower - upper:.1f}" stroke="{color}"{dash}>'
        f"<title>{escape(title)}</title></rect>"
    )
