"""Decode an item's content into an 8-bit image, grey or RGB, whatever camera, scanner or website it came from."""

import importlib
import io
import struct
from functools import cache
from types import ModuleType

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from icebox.features.abc.dataset import Content
from icebox.features.errors import ItemError

# Named one by one: left to itself Pillow also tries dozens of rare formats, and starts Ghostscript for an EPS.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000")
IMAGE_SUFFIXES = {  # of the files listed in a folder: those of FORMATS
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".tif", ".tiff",
    ".pbm", ".pgm", ".ppm", ".pnm", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx",
}  # fmt: skip
PIXELS_MAX = 89_478_485  # where Pillow starts to warn: 256 MB as RGB, which a few kilobytes of PNG can claim
ORIENTATION = 0x0112  # EXIF tag: 1 is upright
SIMPLEJPEG_MODES = {"L": "GRAY", "RGB": "RGB"}  # Pillow's name → simplejpeg's; CMYK and the rest are left to Pillow
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, struct.error)


def to_image(content: Content, *, draft: int | None = None) -> Image.Image:
    """Encoded bytes or a uint8 array (height, width[, 3]) → an upright image in mode "L" or "RGB".

    An animation gives its first frame; transparency lies on white; 16-bit grey is scaled to 8 (0..65535 → 0..255).
    With `draft` a JPEG may come out 2, 4 or 8 times smaller, its shorter side no shorter than that many pixels.
    Raises ItemError, which does not know the item's name, for content that is not a whole image.
    """
    return from_array(content) if isinstance(content, np.ndarray) else finish_image(*open_image(content, draft))


def to_pixels(content: Content, *, draft: int | None = None) -> np.ndarray:
    """Like `to_image`, as uint8 (height, width) or (height, width, 3); an upright JPEG is not copied on the way."""
    if isinstance(content, np.ndarray):
        return np.asarray(from_array(content))
    image, pixels = open_image(content, draft)
    return pixels if pixels is not None and not is_rotated(image) else np.asarray(finish_image(image, pixels))


def from_array(pixels: np.ndarray) -> Image.Image:
    """A uint8 array (h, w) → mode "L", (h, w, 3) → mode "RGB"."""
    if pixels.dtype != np.uint8 or pixels.size == 0 or not (pixels.ndim == 2 or pixels.shape[2:] == (3,)):
        raise ItemError(
            f"expected an array of uint8 (height, width) or (height, width, 3), found {pixels.dtype} {pixels.shape}"
        )
    return Image.fromarray(np.ascontiguousarray(pixels))


def open_image(content: Content, draft: int | None) -> tuple[Image.Image, np.ndarray | None]:
    """Decode the first frame, whole or not at all: half an image would give a plausible wrong feature.

    Returns (the image, None), or for a JPEG that simplejpeg decoded (an image with its header only, its pixels).
    """
    if not isinstance(content, bytes):
        raise ItemError(f"expected an image's bytes or array, found a {type(content).__name__}: {str(content)[:40]!r}")
    if not content:
        raise ItemError("the file is empty (0 bytes)")
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        refuse_bomb(image)
        size = image.size
        if draft is not None:
            image.draft(None, (draft, draft))  # does nothing to other formats
        full_size = image.size == size
        if full_size and image.format == "JPEG" and (pixels := decode_jpeg(content, image.mode)) is not None:
            return image, pixels
        image.load()
    except UnidentifiedImageError as error:
        raise ItemError(
            f"not an image, or not one of {', '.join(FORMATS)}: {len(content)} bytes that start with {content[:8]!r}"
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ItemError(f"too large to decode: {error}") from error
    except UNREADABLE as error:
        raise ItemError(f"damaged or cut short ({len(content)} bytes): {error}") from error
    return image, None


def decode_jpeg(content: bytes, mode: str) -> np.ndarray | None:
    """A JPEG's pixels by simplejpeg: uint8 (h, w) for mode "L", (h, w, 3) for "RGB".

    A sixth faster than Pillow and bit for bit the same, since both are libjpeg-turbo; both release Python's lock while
    they decode, so threads decode in parallel. None where Pillow has to decide: odd, damaged, of another mode.
    """
    library = simplejpeg()
    if library is None or mode not in SIMPLEJPEG_MODES:
        return None
    try:
        # The precise inverse DCT and the smooth upsampling of color are Pillow's, too. `strict`: whatever libjpeg
        # warns of is refused, so that what counts as damaged is decided in one place, by Pillow.
        pixels: np.ndarray = library.decode_jpeg(
            content, colorspace=SIMPLEJPEG_MODES[mode], fastdct=False, fastupsample=False, strict=True
        )
    except ValueError:
        return None
    return pixels[..., 0] if mode == "L" else pixels


@cache
def simplejpeg() -> ModuleType | None:
    """The library, or None where there is no build of it for this machine."""
    try:
        return importlib.import_module("simplejpeg")
    except ImportError:
        return None


def finish_image(image: Image.Image, pixels: np.ndarray | None) -> Image.Image:
    """Make one upright 8-bit image of what `open_image` returned."""
    if pixels is not None:
        header, image = image, Image.fromarray(pixels)
        image.info = header.info
    return to_eight_bit(to_upright(image))


def refuse_bomb(image: Image.Image) -> None:
    """Raise DecompressionBombError for too many pixels by the header, before any is decoded.

    Pillow warns above its limit and raises above twice that; one limit holds the same under every warning filter.
    """
    if image.width * image.height > PIXELS_MAX:
        raise Image.DecompressionBombError(
            f"{image.width}×{image.height} pixels, the limit is {PIXELS_MAX:,}; store a smaller copy of it"
        )


def to_upright(image: Image.Image) -> Image.Image:
    """Rotate and mirror as the EXIF orientation says."""
    try:
        return ImageOps.exif_transpose(image) if is_rotated(image) else image
    except UNREADABLE:
        return image


def is_rotated(image: Image.Image) -> bool:
    """Whether the image is not stored upright; one with a damaged EXIF block counts as upright, as in viewers."""
    try:
        return bool(image.getexif().get(ORIENTATION, 1) != 1)
    except UNREADABLE:
        return False


def to_eight_bit(image: Image.Image) -> Image.Image:
    """An image in any of Pillow's modes → "L" for grey, else "RGB"."""
    if image.mode in (*SIXTEEN_BIT, "I"):
        return from_sixteen_bit(image)
    if image.mode == "F":
        raise ItemError("pixels are floating-point numbers without an agreed range; store them as 8 or 16 bit")
    mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
    try:
        if image.has_transparency_data:
            layer = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
        return image if image.mode == mode else image.convert(mode)
    except ValueError as error:
        raise ItemError(f"colour mode {image.mode} can't be turned into {mode}: {error}") from error


def from_sixteen_bit(image: Image.Image) -> Image.Image:
    """0..65535 → 0..255, rounded: Pillow's own conversion clips at 255 and gives a white image."""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ItemError(f"expected grey values of 16 bits (0..65535), found {values.min()}..{values.max()}")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))
