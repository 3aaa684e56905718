"""The height and width of a picture as it is decoded, by its header alone."""

import io

import numpy as np
from PIL import Image

from icebox.features.abc.dataset import Content
from icebox.features.images import decoding

SIDEWAYS = range(5, 9)  # EXIF orientations that exchange height and width


def upright_size(content: Content) -> tuple[int, int] | None:
    """Height and width of encoded bytes or an array, turned as EXIF says; None for what is no picture."""
    if isinstance(content, np.ndarray):
        return (content.shape[0], content.shape[1]) if content.ndim > 1 else None
    if not isinstance(content, bytes):
        return None
    try:
        image = Image.open(io.BytesIO(content), formats=decoding.FORMATS)
        sideways = decoding.is_rotated(image) and image.getexif().get(decoding.ORIENTATION) in SIDEWAYS
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, *decoding.UNREADABLE):
        return None
    return (image.width, image.height) if sideways else (image.height, image.width)
