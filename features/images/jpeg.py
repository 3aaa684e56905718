"""JPEG: strict decoding, which refuses data that libjpeg would patch up with a warning, and the number of scans.

libjpeg fills holes with grey and goes on; Pillow passes over its warnings. simplejpeg, which is libjpeg-turbo as Pillow
is and gives the same pixels to the bit, stops at the first warning and says what it is.
"""

import importlib
import logging
import re
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from icebox.features.errors import ItemError
from icebox.features.images import remarks

COLORS = {"L": "GRAY", "RGB": "RGB"}  # Pillow's mode → simplejpeg's; the rest is left to Pillow
START_OF_SCAN = b"\xff\xda"  # within a scan's data every ff is followed by 00 or a restart marker
SCANS_MAX = 100  # encoders write about 10; each one is a pass over the whole picture, and costs it a few bytes
DAMAGE = re.compile(r"Premature end|Corrupt JPEG data(?!: bad ICC)")
# Bytes too many at the very end come after the last pixel: common in photos from the web, and harmless or a sign of
# damage that nobody can tell. Of a progressive JPEG they may be whole scans.
SPARE_END = re.compile(r"extraneous bytes before marker 0xd9")
TIFF_JPEG = 7  # TIFF tags and a value: the compression, …
COMPRESSION, STRIP_OFFSETS, STRIP_BYTES, TILE_OFFSETS, TILE_BYTES, JPEG_TABLES = 259, 273, 279, 324, 325, 347
logger = logging.getLogger("icebox")


def refuse_many_scans(content: bytes) -> None:
    """Raise ItemError for a JPEG with more scans than any encoder writes, before any is decoded."""
    scans = content.count(START_OF_SCAN)
    if scans > SCANS_MAX:
        raise ItemError(f"a JPEG of {scans:,} scans, the limit is {SCANS_MAX}; store it anew")


def decode(content: bytes, image: Image.Image) -> np.ndarray | None:
    """The pixels of a JPEG whose header is `image`: uint8 (h, w) for mode "L", (h, w, 3) for "RGB".

    A sixth faster than Pillow; both release Python's lock while they decode, so threads decode in parallel. None where
    Pillow has to decode it: of another mode, or odd. Raises ItemError for damaged data; what may be none is a remark.
    """
    scans = "progressive" in image.info
    pixels = decode_strictly(content, COLORS.get(image.mode, "CMYK"), size=image.size, progressive=scans)
    if pixels is None or image.mode not in COLORS or pixels.shape[:2] != (image.height, image.width):
        return None
    return pixels[..., 0] if image.mode == "L" else pixels


def decode_strictly(
    content: bytes, colors: str, *, size: tuple[int, int] = (0, 0), progressive: bool = False
) -> np.ndarray | None:
    """The pixels, reduced to no less than `size` (width, height), or None where simplejpeg can't decode these."""
    library = simplejpeg()
    if library is None:
        return None
    try:
        # the precise inverse DCT and the smooth upsampling of color are Pillow's, too
        pixels: np.ndarray = library.decode_jpeg(
            content, colors, fastdct=False, fastupsample=False, min_width=size[0], min_height=size[1], strict=True
        )
    except ValueError as error:
        if DAMAGE.search(str(error)) and (progressive or not SPARE_END.search(str(error))):
            raise ItemError(f"damaged or cut short ({len(content)} bytes): {error}") from error
        remarks.add(f"taken all the same, though its JPEG data is odd: {error}")
        return None
    return pixels


def check_tiff(content: bytes, image: Image.Image) -> None:
    """Raise ItemError where a strip or tile of a TIFF is damaged JPEG, which libtiff takes with a warning."""
    if image.tag_v2.get(COMPRESSION) == TIFF_JPEG:  # type: ignore[attr-defined]
        for stream in streams_of_tiff(content, dict(image.tag_v2)):  # type: ignore[attr-defined]
            decode_strictly(stream, "CMYK" if image.mode == "CMYK" else "GRAY")


def streams_of_tiff(content: bytes, tags: dict[int, Any]) -> Iterator[bytes]:
    """The whole JPEG of each strip or tile: the file's common tables, without their end, then its data."""
    tables = tags.get(JPEG_TABLES, b"")
    offsets, counts = (
        tags.get(strips, tags.get(tiles, ()))
        for strips, tiles in ((STRIP_OFFSETS, TILE_OFFSETS), (STRIP_BYTES, TILE_BYTES))
    )
    for offset, count in zip(offsets, counts, strict=False):
        piece = content[offset : offset + count]
        yield tables[:-2] + piece[2:] if tables else piece


@cache
def simplejpeg() -> ModuleType | None:
    """The library, or None where there is no build of it for this machine."""
    try:
        return importlib.import_module("simplejpeg")
    except ImportError:
        logger.warning("simplejpeg is not installed: damage inside a JPEG's data can't be told; pip install simplejpeg")
        return None
