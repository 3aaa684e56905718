"""Pictures put into a network's frame in other ways than by their shorter side, as timm does it.

Letters: h height, w width, in pixels.
"""

from collections.abc import Sequence

import numpy as np

from icebox.features.images.resizing import center_offset, resize, resize_to_and_crop

CENTER, SQUASH, BORDER = CROP_MODES = ("center", "squash", "border")


def frame(
    pixels: np.ndarray,
    *,
    mode: str,
    around: Sequence[int],
    crop: Sequence[int],
    interpolation: str,
    exact: bool,
    mean: Sequence[float],
) -> np.ndarray:
    """uint8 (h, w) or (h, w, 3) → uint8 of the central `crop` (height, width) of a picture that is resized first.

    By `mode` it is stretched to `around` (height, width), with its own proportions covers that, or lies within it; what
    is then missing has the colour `mean`, 0 to 1 a channel.
    """
    height, width = pixels.shape[:2]
    ratios = height / around[0], width / around[1]
    size = around[0], around[1]
    if mode != SQUASH:
        ratio = max(ratios) if mode == BORDER else min(ratios)
        size = max(1, round(height / ratio)), max(1, round(width / ratio))
    kept = crop[0], crop[1]
    if mode != BORDER:
        return resize_to_and_crop(pixels, size=size, crop=kept, interpolation=interpolation, exact=exact)
    resized = resize(pixels, size, interpolation=interpolation, exact=exact)
    colour = [round(255 * value) for value in mean]
    framed = np.empty((*kept, len(colour)), np.uint8)
    framed[:] = colour
    (rows, into_rows), (columns, into_columns) = (
        overlap(side, length) for side, length in zip(size, kept, strict=True)
    )
    framed[into_rows, into_columns] = resized.reshape(*size, -1)[rows, columns]
    return framed


def overlap(side: int, kept: int) -> tuple[slice, slice]:
    """The part of a side that a centred crop of `kept` pixels takes, and its place in the crop."""
    start = center_offset(side, kept)
    length = min(side, kept)
    return slice(max(0, start), max(0, start) + length), slice(max(0, -start), max(0, -start) + length)
