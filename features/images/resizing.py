"""Resize an image's shorter side and keep the centre, as torchvision does with a Pillow image.

Pillow's own resize is exact. torch's, of 8-bit pixels, is the same algorithm with its weights in 16 bits instead of 32
and vector instructions: three times as fast, and at most 2 levels apart, in 0.1% of a photo's values when reducing it
bilinearly, in 0.3% bicubically or when enlarging (on average; at worst 2%; of noise 8%, from 192 to 224 pixels, where
a simple ratio leaves many values halfway between two levels).

Letters: h height, w width, in pixels.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

# Pillow resizes the columns first where an image is more than twice as high as wide, torch always the rows. With 8
# bits between the two, the other order moves a quarter of the values, bicubic ones by up to 25 levels.
HEIGHT_PER_WIDTH_MAX = 1.9
# Of a picture that becomes larger than this only the part that is kept is resized: one of 60,000×1 pixels would become
# 3.9 billion. At 256 pixels of the shorter side these are pictures more than 256 times as long as wide.
ENLARGED_MAX = 1 << 24
RESAMPLING_REACH = 4  # pixels to each side that a resized one depends on, and one to spare (Lanczos: 3)


def resize_and_crop(
    pixels: np.ndarray,
    *,
    shorter: int,
    crop: tuple[int, int],
    interpolation: str,
    exact: bool = False,
    offset: Callable[[int, int], int] | None = None,
) -> np.ndarray:
    """Resize the shorter side to `shorter` and take the central `crop` (height, width); black outside the image.

    uint8 (h, w) or (h, w, 3) → uint8 of the crop's height and width. `interpolation` is `bilinear` or `bicubic`;
    `offset(size, kept)` is that of the crop, or else as torchvision rounds it.
    """
    size = resized_shape(pixels.shape[0], pixels.shape[1], shorter)
    return resize_to_and_crop(pixels, size=size, crop=crop, interpolation=interpolation, exact=exact, offset=offset)


def resize_to_and_crop(
    pixels: np.ndarray,
    *,
    size: tuple[int, int],
    crop: tuple[int, int],
    interpolation: str,
    exact: bool = False,
    offset: Callable[[int, int], int] | None = None,
) -> np.ndarray:
    """Like `resize_and_crop`, resized to `size` (height, width)."""
    offset = offset or center_offset
    height, width = size
    top, left = offset(height, crop[0]), offset(width, crop[1])
    if height * width > ENLARGED_MAX:
        resized, box = resize_kept_part(pixels, (height, width), (top, left, *crop), interpolation=interpolation)
        top, left = top - box[0], left - box[1]
    else:
        resized = resize(pixels, (height, width), interpolation=interpolation, exact=exact)
    bottom, right = top + crop[0], left + crop[1]
    if top < 0 or left < 0 or bottom > resized.shape[0] or right > resized.shape[1]:
        return np.asarray(Image.fromarray(resized).crop((left, top, right, bottom)))
    return resized[top:bottom, left:right]


def resize_kept_part(
    pixels: np.ndarray, size: tuple[int, int], crop: tuple[int, int, int, int], *, interpolation: str
) -> tuple[np.ndarray, tuple[int, int]]:
    """Resize to `size` (height, width), but only that part which lies in `crop` (top, left, height, width).

    Returns the part, and its (top, left) in the whole. Its pixels are the whole's, up to the rounding of positions.
    """
    kept, box, start = [], [], []  # along the rows, then the columns
    for axis, (side, first, length) in enumerate(zip(size, crop[:2], crop[2:], strict=True)):
        start.append(max(0, first))
        stop = min(side, first + length)
        scale = pixels.shape[axis] / side  # pixels of the picture for one of the resized
        margin = RESAMPLING_REACH * max(scale, 1)
        low = max(0, math.floor(start[axis] * scale - margin))
        pixels = pixels.take(range(low, min(pixels.shape[axis], math.ceil(stop * scale + margin))), axis)
        kept.append(stop - start[axis])
        box.append((start[axis] * scale - low, stop * scale - low))
    (top, bottom), (left, right) = box
    resample = Image.Resampling[interpolation.upper()]
    resized = Image.fromarray(pixels).resize((kept[1], kept[0]), resample, box=(left, top, right, bottom))
    return np.asarray(resized), (start[0], start[1])


def resize(pixels: np.ndarray, size: tuple[int, int], *, interpolation: str, exact: bool = False) -> np.ndarray:
    """uint8 (h, w) or (h, w, 3) → uint8 of `size` (height, width); by Pillow where `exact`."""
    if exact or pixels.shape[0] > HEIGHT_PER_WIDTH_MAX * pixels.shape[1]:
        resample = Image.Resampling[interpolation.upper()]
        return np.asarray(Image.fromarray(pixels).resize((size[1], size[0]), resample))
    colors = pixels.reshape(*pixels.shape[:2], -1)  # (h, w, 1 or 3)
    batch = torch.from_numpy(np.require(colors, requirements="W")).permute(2, 0, 1)[None]  # (1, 1 or 3, h, w)
    small = F.interpolate(batch, size=size, mode=interpolation, antialias=True)[0].permute(1, 2, 0)
    values: np.ndarray = small.numpy().reshape(*size, *pixels.shape[2:])
    return values


def resized_shape(height: int, width: int, shorter: int) -> tuple[int, int]:
    """(height, width) once the shorter side is `shorter`; the longer is rounded down, as torchvision does."""
    return (int(shorter * height / width), shorter) if width <= height else (shorter, int(shorter * width / height))


def center_offset(size: int, kept: int) -> int:
    """Offset of the central `kept` of `size` pixels; negative where kept > size. Rounds as torchvision does."""
    return round((size - kept) / 2) if kept <= size else -((kept - size) // 2)
