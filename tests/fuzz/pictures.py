"""Fuzz target: pictures, decoded in every way."""

import contextlib
import io
from pathlib import Path

import numpy as np
from PIL import Image

from icebox.features.errors import IceboxError
from icebox.features.images import decoding
from tests.fuzz.target import Target

SAMPLE_PIXELS = np.random.default_rng(0).integers(0, 256, (17, 13, 4), np.uint8)


class Picture(Target):
    """A picture in each format, decoded in every way."""

    name = "image"
    share = 3.0
    modes = (
        ("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "1"), ("PNG", "I;16"),
        ("PNG", "LA"), ("WEBP", "RGBA"), ("GIF", "P"), ("BMP", "RGB"), ("TIFF", "RGB"), ("TIFF", "I;16"),
        ("TIFF", "CMYK"), ("PPM", "RGB"), ("PPM", "1"), ("JPEG2000", "RGB"),
    )  # fmt: skip

    def samples(self) -> list[tuple[Path, bytes]]:
        return [(Path(f"{i}.{kind.lower()}"), picture(kind, mode)) for i, (kind, mode) in enumerate(self.modes)]

    def read(self, path: Path) -> None:
        content = path.read_bytes()
        pixels = None
        for decode in (decoding.to_pixels, decoding.to_image, lambda each: decoding.to_pixels(each, draft=4)):
            with contextlib.suppress(IceboxError):
                pixels = decode(content)
        if pixels is None:
            decoding.to_image(content)


def picture(kind: str, mode: str) -> bytes:
    """An encoded picture."""
    image = Image.fromarray(SAMPLE_PIXELS)
    image = Image.fromarray(SAMPLE_PIXELS[..., 0].astype(np.uint16) * 200) if mode == "I;16" else image.convert(mode)
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


TARGETS: list[Target] = [Picture()]
