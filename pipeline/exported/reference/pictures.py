"""Pictures as this model takes them: NumPy and Pillow alone. `steps` is `preprocess` of config.json."""

import io
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000")
PIXELS_MAX = 1 << 24  # of a resized picture


def prepare(picture: Any, steps: dict[str, Any]) -> np.ndarray:
    """A path, encoded bytes, a Pillow image or uint8 pixels (h, w[, 3]) → uint8 (channels, h, w), or (h, w) of grey."""
    draft = min(steps["resize"]) if steps.get("decode") == "draft" else None
    image = to_image(picture, draft)
    image = image.convert("L" if steps["channels"] == 1 else "RGB") if steps["channels"] else image
    if steps["kind"] == "glyph":
        return glyph(np.asarray(image), steps["resize"][0])
    pixels = np.asarray(image)
    height, width = pixels.shape[:2]
    size, crop = steps["resize"] or (height, width), steps["crop"] or steps["resize"]
    if steps["kind"] == "shorter":
        side = size[0]
        size = (int(side * height / width), side) if width <= height else (side, int(side * width / height))
    elif steps["kind"] in ("center", "border"):
        ratios = height / size[0], width / size[1]
        ratio = max(ratios) if steps["kind"] == "border" else min(ratios)
        size = max(1, round(height / ratio)), max(1, round(width / ratio))
    resized = resize(pixels, tuple(size), steps["interpolation"], steps["resample"])
    cropped = center(resized, tuple(crop), steps["offset"], steps.get("fill"))
    return cropped if steps["flat"] else np.ascontiguousarray(cropped.reshape(*crop, -1).transpose(2, 0, 1))


def to_image(picture: Image.Image | np.ndarray | bytes | str | Path, draft: int | None = None) -> Image.Image:
    """An upright 8-bit picture, grey or RGB; transparency lies on white, 16-bit grey is scaled to 8.

    Raises ValueError or OSError for what is no whole picture.
    """
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.shape[2:] not in ((), (3,)):
            raise ValueError(f"expected uint8 pixels (h, w) or (h, w, 3), found {picture.dtype} {picture.shape}")
        return Image.fromarray(picture)
    if not isinstance(picture, Image.Image):
        source = io.BytesIO(picture) if isinstance(picture, bytes) else picture
        try:
            picture = Image.open(source, formats=FORMATS)
            if draft is not None:
                picture.draft(None, (draft, draft))
            picture.load()
        except (Image.DecompressionBombError, SyntaxError, EOFError, struct.error) as error:
            raise ValueError(f"too large, or damaged: {error}") from error
    if picture.mode == "F":
        raise ValueError("pixels are floating-point numbers without an agreed range; store them as 8 or 16 bit")
    image = ImageOps.exif_transpose(picture)
    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I"):
        values = np.asarray(image).astype(np.int32)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"expected grey values of 16 bits (0..65535), found {values.min()}..{values.max()}")
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert(mode)
    return image.convert(mode)


def resize(pixels: np.ndarray, size: tuple[int, int], interpolation: str, resample: str) -> np.ndarray:
    """uint8 (h, w[, 3]) → uint8 of `size` (height, width): by Pillow, or with weights in 16 bits, as torch does it."""
    if size[0] * size[1] > PIXELS_MAX:
        raise ValueError(f"a picture of {pixels.shape[1]}×{pixels.shape[0]} pixels is too long and thin to be resized")
    if size == pixels.shape[:2]:
        return pixels
    if resample == "pillow" or pixels.shape[0] > 1.9 * pixels.shape[1]:
        return np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling[interpolation.upper()]))
    columns = along_columns(pixels.reshape(*pixels.shape[:2], -1), size[1], interpolation)
    rows = along_columns(columns.transpose(1, 0, 2), size[0], interpolation).transpose(1, 0, 2)
    return np.ascontiguousarray(rows.reshape(*size, *pixels.shape[2:]))


def along_columns(pixels: np.ndarray, kept: int, interpolation: str) -> np.ndarray:
    """uint8 (h, w, c) → (h, kept, c): each column a weighted sum of those under it."""
    width = pixels.shape[1]
    if kept == width:
        return pixels
    scale, reach = width / kept, 1.0 if interpolation == "bilinear" else 2.0
    support, inverse = (reach * scale, 1 / scale) if scale >= 1 else (reach, 1.0)
    starts, weights = [], np.zeros((kept, math.ceil(support) * 2 + 1))
    for i in range(kept):
        middle = scale * (i + 0.5)
        start = max(int(middle - support + 0.5), 0)
        count = min(int(middle + support + 0.5), width) - start
        row = kernel((np.arange(count) + start - middle + 0.5) * inverse, interpolation)
        starts.append(start)
        weights[i, :count] = row / row.sum()
    bits = 0
    while bits < 22 and int(0.5 + weights.max() * (1 << (bits + 1))) < 1 << 15:
        bits += 1
    whole = np.trunc(weights * (1 << bits) + np.where(weights < 0, -0.5, 0.5)).astype(np.int32)
    total = np.full((pixels.shape[0], kept, pixels.shape[2]), 1 << (bits - 1), np.int32)
    for tap in range(whole.shape[1]):
        under = np.minimum(np.array(starts) + tap, width - 1)
        total += pixels[:, under] * whole[:, tap, None]
    clipped: np.ndarray = np.clip(total >> bits, 0, 255).astype(np.uint8)
    return clipped


def kernel(x: np.ndarray, interpolation: str) -> np.ndarray:
    """The weight of pixels at these distances."""
    x = np.abs(x)
    if interpolation == "bilinear":
        return np.asarray(np.maximum(1 - x, 0))
    near = ((1.5 * x) - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def center(pixels: np.ndarray, crop: tuple[int, int], offset: str, fill: list[int] | None) -> np.ndarray:
    """The central `crop` (height, width) of pixels; outside of them black, or the colour `fill`."""
    out = np.zeros((*crop, *pixels.shape[2:]), np.uint8)
    if fill is not None:
        out = np.empty((*crop, len(fill)), np.uint8)
        out[:] = fill
        pixels = np.broadcast_to(pixels.reshape(*pixels.shape[:2], -1), (*pixels.shape[:2], len(fill)))
    places = []
    for side, kept in zip(pixels.shape[:2], crop, strict=True):
        half = round((side - kept) / 2) if offset == "torchvision" else int((side - kept) / 2)
        start = half if kept <= side else -((kept - side) // 2)
        length = min(side, kept)
        places.append((slice(max(0, start), max(0, start) + length), slice(max(0, -start), max(0, -start) + length)))
    (rows, into_rows), (columns, into_columns) = places
    out[into_rows, into_columns] = pixels[rows, columns]
    return out


def glyph(pixels: np.ndarray, side: int) -> np.ndarray:
    """Grey (h, w) → (side, side): light on dark, in the middle of a square, of full contrast."""
    border = int(np.median(np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])))
    if 2 * border > int(pixels.min()) + int(pixels.max()):
        pixels, border = 255 - pixels, 255 - border
    height, width = pixels.shape
    square = Image.new("L", (max(height, width),) * 2, border)
    square.paste(Image.fromarray(pixels), ((square.width - width) // 2, (square.height - height) // 2))
    small = np.asarray(square.resize((side, side), Image.Resampling.BILINEAR), dtype=np.float32)
    low, high = small.min(), small.max()
    stretched: np.ndarray = np.rint((small - low) * (255 / max(high - low, 1))).astype(np.uint8)
    return stretched
