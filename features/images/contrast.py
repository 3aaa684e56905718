"""Contrast made alike: each picture's grey levels are spread anew, so that pictures of two cameras differ in what they
show and less in how they were exposed.

Letters: h height, w width, t tiles a side.
"""

from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from icebox.features.abc.dataset import Content
from icebox.features.errors import ItemError
from icebox.features.images import decoding

Contrast = Literal["none", "equalize", "clahe"]

LEVELS = 256
TILES = 8  # a side, as in most uses of CLAHE
CLIP = 2.0  # how far a level may be commoner in a tile than on average; what lies above is spread over all levels


def with_contrast(content: Content, contrast: Contrast) -> Content:
    """A picture's pixels, uint8 (h, w) or (h, w, 3), with its levels spread anew; without one the content as it is.

    `equalize` makes all levels equally common; `clahe` does so within tiles of the picture, no more than CLIP allows
    (contrast-limited adaptive histogram equalization, Zuiderveld 1994). Of color the luminance is changed alone. What
    can't be decoded stays as it is, for extraction to name.
    """
    if contrast == "none":
        return content
    try:
        image = decoding.to_image(content)
    except ItemError:
        return content
    if image.mode == "L":
        return np.asarray(spread(image, contrast))
    luminance, *color = image.convert("YCbCr").split()
    return np.asarray(Image.merge("YCbCr", [spread(luminance, contrast), *color]).convert("RGB"))


def spread(grey: Image.Image, contrast: Contrast) -> Image.Image:
    """A grey picture with its levels spread anew."""
    return ImageOps.equalize(grey) if contrast == "equalize" else Image.fromarray(clahe(np.asarray(grey)))


def clahe(pixels: np.ndarray) -> np.ndarray:
    """Pixels uint8 (h, w) with the levels of each tile spread; between the middles of tiles bilinear of four maps."""
    rows, columns = (edges(size) for size in pixels.shape)
    maps = np.stack(
        [np.stack([level_map(pixels[top:bottom, left:right]) for left, right in columns]) for top, bottom in rows]
    )  # (t, t, LEVELS)
    upper, lower, down = neighbors(pixels.shape[0], rows)
    before, after, along = neighbors(pixels.shape[1], columns)
    down, along = down[:, None], along[None, :]

    def mapped(row: np.ndarray, column: np.ndarray) -> np.ndarray:
        """The levels (h, w) by the maps of these tiles, (h,) and (w,)."""
        levels: np.ndarray = maps[row[:, None], column[None, :], pixels]
        return levels

    top = mapped(upper, before) * (1 - along) + mapped(upper, after) * along
    bottom = mapped(lower, before) * (1 - along) + mapped(lower, after) * along
    spread_anew: np.ndarray = np.rint(top * (1 - down) + bottom * down).astype(np.uint8)
    return spread_anew


def edges(size: int) -> list[tuple[int, int]]:
    """Where each tile begins and ends along a side of so many pixels; of a small side there are fewer tiles."""
    ends = np.linspace(0, size, min(TILES, size) + 1).round().astype(int)
    return list(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True))


def level_map(tile: np.ndarray) -> np.ndarray:
    """The new level float32 (LEVELS,) of each level of a tile, by its clipped histogram."""
    counts = np.bincount(tile.ravel(), minlength=LEVELS).astype(np.float64)
    limit = CLIP * tile.size / LEVELS
    excess = np.maximum(counts - limit, 0).sum()
    counts = np.minimum(counts, limit) + excess / LEVELS
    levels: np.ndarray = ((LEVELS - 1) * np.cumsum(counts) / tile.size).astype(np.float32)
    return levels


def neighbors(size: int, tiles: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The tiles before and after each pixel along a side (size,), and how far it lies between their middles, 0 to 1."""
    middles = np.array([(start + end - 1) / 2 for start, end in tiles])
    place = np.interp(np.arange(size), middles, np.arange(len(middles)))
    before = np.floor(place).astype(int)
    return before, np.minimum(before + 1, len(middles) - 1), (place - before).astype(np.float32)
