"""Pictures whose data ends early though their file is well-formed: Pillow leaves the rest of them black, in silence."""

import io

from PIL import Image

from icebox.features.errors import ItemError
from icebox.features.images.memory import strips

SEQUENTIAL = {"zip", "raw"}  # Pillow's decoders that fill the picture from the top to the bottom, …
SCATTERED = {"jpeg2k"}  # … and in tiles, which may be missing anywhere; the other decoders raise for missing data
TILE_WIDTH = 322  # a tag of TIFF
WHITE = {"I;16": 65535, "I;16B": 65535, "I;16L": 65535, "I;16N": 65535, "I": 65535, "F": 1.0}  # by mode; else 255


def refuse_undecoded(image: Image.Image, content: bytes, decoder: str) -> None:
    """Raise ItemError where pixels of the loaded `image` were never decoded, so that a part of it is missing.

    It is decoded once more over white: where that stays, nothing was decoded. That costs a second decoding, so only
    pictures are tried that are black where the missing part would be. `decoder` is Pillow's, which ran.
    """
    if decoder not in SEQUENTIAL | SCATTERED:
        return
    scattered = decoder in SCATTERED or bool(image.info.get("interlace")) or TILE_WIDTH in getattr(image, "tag_v2", {})
    region = image if scattered else image.crop((0, image.height - 1, image.width, image.height))
    extrema = region.getextrema()
    bands = extrema if isinstance(extrema[0], tuple) else (extrema,)
    if not any((low if scattered else high) == 0 for low, high in bands):
        return
    again = Image.open(io.BytesIO(content), formats=[image.format or ""])
    white = WHITE.get(again.mode, 255)
    again.im = Image.new(again.mode, again.size, white if len(bands) == 1 else (white,) * len(bands)).im
    again.load()
    if any(again.crop(box).tobytes() != image.crop(box).tobytes() for box in strips(image)):
        raise ItemError(f"damaged or cut short ({len(content)} bytes): its data ends before the picture does")
