"""The values of a PNG mask: indices of its palette, grey values, or colours."""

import io

import numpy as np
from PIL import Image

from icebox.features.errors import IceboxError, ItemError
from icebox.features.images import memory
from icebox.features.images.completeness import refuse_undecoded
from icebox.features.images.decoding import SIXTEEN_BIT, UNREADABLE, foreign_kind

BIT_DEPTH = 24  # the position of this byte in a PNG
PNG = b"\x89PNG\r\n\x1a\n"


def mask_values(content: bytes, name: str, *, colors: bool) -> np.ndarray:
    """The values (h, w) int32 of a mask: with `colors` those of red, green and blue, packed.

    Else the palette's indices, or grey values as they were written, of 1, 2, 4, 8 or 16 bits. Raises IceboxError, which
    names the file, for what is no whole PNG, and for colours that no setting names.
    """
    if not content.startswith(PNG):
        kind = "a JPEG, which blurs class numbers" if content.startswith(b"\xff\xd8") else ""
        found = kind or (f"{len(content):,} bytes that {foreign_kind(content)}" if content else "an empty file")
        raise IceboxError(f"{name}: expected a mask as PNG, found {found}; store it as PNG")
    with memory.budget.kept():
        try:
            image = Image.open(io.BytesIO(content), formats=["PNG"])
            memory.refuse_too_large(image)
            needed_bytes = memory.bytes_needed(image, image.size)
            memory.refuse_too_much(needed_bytes, image)
            memory.budget.reserve(needed_bytes)
            image.load()
            refuse_undecoded(image, content, "zip")
        except (Image.DecompressionBombError, Image.DecompressionBombWarning, *UNREADABLE) as reason:
            raise IceboxError(f"{name}: damaged or cut short ({len(content):,} bytes): {reason}") from reason
        except ItemError as reason:
            raise IceboxError(f"{name}: {reason}") from reason
        return packed_colors(image) if colors else plain_values(image, content[BIT_DEPTH], name)


def packed_colors(image: Image.Image) -> np.ndarray:
    """red·65536 + green·256 + blue, transparency left aside."""
    pixels = np.asarray(image.convert("RGB")).astype(np.int32)
    packed: np.ndarray = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
    return packed


def plain_values(image: Image.Image, bits: int, name: str) -> np.ndarray:
    """Indices or grey values. Pillow stretches grey of 2 and 4 bits over 0 to 255, which is undone."""
    if image.mode in ("P", "1", "I", *SIXTEEN_BIT):
        return np.asarray(image).astype(np.int32)
    grey = np.asarray(image.getchannel(0) if image.mode == "LA" else image)
    if grey.ndim == 3:
        grey = grey[..., :3]
        if (grey != grey[..., :1]).any():
            raise IceboxError(
                f"{name}: expected a mask of class numbers, found colours; say with `colors` which class each is"
            )
        grey = grey[..., 0]
    return grey.astype(np.int32) // (255 // (2**bits - 1) if bits in (2, 4) else 1)
