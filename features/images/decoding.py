"""Decode an item's content into an 8-bit image, grey or RGB, whatever camera, scanner or website it came from."""

import io
import struct
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from icebox.features.abc.dataset import Content
from icebox.features.errors import ItemError
from icebox.features.images import jpeg, memory
from icebox.features.images.completeness import refuse_undecoded

# Named one by one: left to itself Pillow also tries dozens of rare formats, and starts Ghostscript for an EPS.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000")
IMAGE_SUFFIXES = {  # of the files listed in a folder: those of FORMATS
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".tif", ".tiff",
    ".pbm", ".pgm", ".ppm", ".pnm", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx",
}  # fmt: skip
FOREIGN_KINDS = {  # first bytes, in small letters → what is often met under a picture's name
    b"version https://git-lfs": "the pointer that Git LFS keeps in a file's place (git lfs pull fetches the file)",
    b"<!doctype html": "a page of the web",
    b"<html": "a page of the web",
    b"<svg": "SVG, a drawing without pixels",
    b"<?xml": "XML",
    b"%pdf-": "a PDF",
    b"8bps": "Photoshop's PSD",
    b"dds ": "DDS",
    b"\x89hdf": "HDF5",
    b"simple  =": "FITS",
    b"\x93numpy": "a NumPy array",
}
BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIF", b"msf1": "HEIF", b"avif": "AVIF", b"avis": "AVIF"}
ORIENTATION = 0x0112  # EXIF tag: 1 is upright
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, struct.error)


def to_image(content: Content, *, draft: int | None = None) -> Image.Image:
    """Encoded bytes or a uint8 array (height, width[, 3]) → an upright image in mode "L" or "RGB".

    An animation gives its first frame; transparency lies on white; 16-bit grey is scaled to 8 (0..65535 → 0..255).
    With `draft` a JPEG may come out 2, 4 or 8 times smaller, its shorter side no shorter than that many pixels.
    Raises ItemError, which does not know the item's name, for content that is not a whole image.
    """
    if isinstance(content, np.ndarray):
        return from_array(content)
    with memory.budget.kept():
        image, pixels = open_image(content, draft)
        if pixels is not None:
            image, pixels = with_pixels(image, pixels), None  # no reference is left that would keep a copy in memory
        return finish_image(image)


def to_pixels(content: Content, *, draft: int | None = None) -> np.ndarray:
    """Like `to_image`, as uint8 (height, width) or (height, width, 3); an upright JPEG is not copied on the way."""
    if isinstance(content, np.ndarray):
        return np.asarray(from_array(content))
    with memory.budget.kept():
        image, pixels = open_image(content, draft)
        if pixels is not None and not is_rotated(image):
            return pixels
        if pixels is not None:
            image, pixels = with_pixels(image, pixels), None
        return as_array(finish_image(image))


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
        memory.refuse_too_large(image)
        full_size = image.size
        if draft is not None:
            image.draft(None, (draft, draft))  # does nothing to other formats
        needed_bytes = memory.bytes_needed(image, full_size)
        memory.refuse_too_much(needed_bytes, image)
        memory.budget.reserve(needed_bytes)
        return image, load(image, content)
    except UnidentifiedImageError as error:
        raise ItemError(
            f"not an image, or not one of {', '.join(FORMATS)}: {len(content)} bytes that {foreign_kind(content)}"
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ItemError(f"too large to decode: {error}") from error
    except UNREADABLE as error:
        raise ItemError(f"damaged or cut short ({len(content)} bytes): {error}") from error


def foreign_kind(content: bytes) -> str:
    """The kind of bytes that none of FORMATS fits: by its name where that is known."""
    start = content[:64].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    kind = next((kind for begin, kind in FOREIGN_KINDS.items() if start.startswith(begin)), "")
    if content[4:8] == b"ftyp":
        kind = BRANDS.get(content[8:12], "")
    elif content[128:132] == b"DICM":
        kind = "DICOM"
    return f"are {kind}" if kind else f"start with {content[:8]!r}"


def load(image: Image.Image, content: bytes) -> np.ndarray | None:
    """Decode `image`, in place, or else return the pixels that simplejpeg decoded. Raises ItemError for a part only."""
    if isinstance(image, JpegImageFile):  # also of several pictures (MPO), as phones take them
        jpeg.refuse_many_scans(content)
        if (pixels := jpeg.decode(content, image)) is not None:
            return pixels
    elif isinstance(image, TiffImageFile):
        jpeg.check_tiff(content, image)
    decoder = image.tile[0].codec_name if isinstance(image, ImageFile) and image.tile else ""
    image.load()
    refuse_undecoded(image, content, decoder)
    return None


def with_pixels(header: Image.Image, pixels: np.ndarray) -> Image.Image:
    """An image of these pixels, with the header's EXIF data."""
    image = Image.fromarray(pixels)
    image.info = header.info
    return image


def finish_image(image: Image.Image) -> Image.Image:
    """Make one upright 8-bit image of a decoded one."""
    return to_eight_bit(to_upright(image))


def as_array(image: Image.Image) -> np.ndarray:
    """The pixels of an image of mode "L" or "RGB", copied strip by strip: numpy itself takes two copies at once."""
    pixels = np.empty((image.height, image.width, len(image.getbands())), np.uint8)
    for left, upper, right, lower in memory.strips(image):
        pixels[upper:lower] = np.asarray(image.crop((left, upper, right, lower))).reshape(
            lower - upper, image.width, -1
        )
    return pixels[..., 0] if image.mode == "L" else pixels


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
    if image.mode == mode and not image.has_transparency_data:
        return image
    try:
        return by_strips(image, mode, on_white if image.has_transparency_data else lambda strip: strip.convert(mode))
    except ValueError as error:
        raise ItemError(f"colour mode {image.mode} can't be turned into {mode}: {error}") from error


def by_strips(image: Image.Image, mode: str, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """The image in another mode, converted strip by strip: a large one would take several copies of itself."""
    converted = Image.new(mode, image.size)
    for box in memory.strips(image):
        converted.paste(convert(image.crop(box)), box)
    return converted


def on_white(image: Image.Image) -> Image.Image:
    """An image with transparency on white → "L" for grey, else "RGB"."""
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert(
        "L" if image.mode in ("1", "L", "LA") else "RGB"
    )


def from_sixteen_bit(image: Image.Image) -> Image.Image:
    """0..65535 → 0..255, rounded: Pillow's own conversion clips at 255 and gives a white image."""
    low, high = image.getextrema()
    if low < 0 or high > 65535:  # type: ignore[operator]
        raise ItemError(f"expected grey values of 16 bits (0..65535), found {low}..{high}")
    return by_strips(image, "L", lambda strip: Image.fromarray(((as_int32(strip) + 128) // 257).astype(np.uint8)))


def as_int32(image: Image.Image) -> np.ndarray:
    """The values of a grey image of 16 or 32 bits (h, w)."""
    return np.asarray(image).astype(np.int32)
