"""The memory that decoding takes: reckoned from a picture's header, before it is decoded, and held within one limit.

A few bytes can claim any size (a WebP of 34 bytes 81 million pixels), and threads decode side by side. So one picture
may need no more than MEMORY_MAX_BYTES, and all that are being prepared at a time no more than that together: a thread
waits for its turn. Small pictures, as nearly all are, never wait.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from icebox.features.errors import ItemError

PIXELS_MAX = 89_478_485  # where Pillow starts to warn
MEMORY_MAX_BYTES = 1 << 30  # enough for PIXELS_MAX in any format but WebP (44 million) and RGB JPEG 2000 (38)
SMALL_BYTES = 16 << 20  # not counted: a photo of 1.5 million pixels
STRIP_PIXELS = 1 << 20
# Pillow's blocks of 16 MiB lie in the heap of the thread that decodes, where glibc keeps them after they are freed;
# blocks above 32 MiB it always gives back to the system.
BLOCK_BYTES = 64 << 20

# bytes a pixel
STORED = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}  # by Pillow's mode; 4 in the others
RESULT = 4 + 3  # the 8-bit picture in another mode, and its array
WEBP_CANVASES = 20  # two canvases, the frame and a copy of it, the decoder's own buffer
JPEG2000_CHANNEL = 8  # OpenJPEG's 32-bit numbers, of the tile and of the picture
JPEG_COEFFICIENT = 2  # of a progressive JPEG, which is whole in memory before any pixel is

Box = tuple[int, int, int, int]  # left, upper, right, lower


def bytes_needed(image: Image.Image, full_size: tuple[int, int]) -> int:
    """The peak of memory while a picture is decoded and made 8-bit, by its header `image`.

    Its size may have been reduced by a draft from `full_size`, (width, height).
    """
    stored, bands = STORED.get(image.mode, 4), len(image.getbands())
    pixels, full_pixels = image.width * image.height, full_size[0] * full_size[1]
    decoder = 0
    if image.format == "WEBP":
        decoder = WEBP_CANVASES * pixels
    elif image.format == "JPEG2000":
        decoder = JPEG2000_CHANNEL * bands * pixels
    elif image.info.get("progressive"):
        decoder = JPEG_COEFFICIENT * bands * full_pixels
    elif image.format == "TIFF":
        decoder = stored * max(pixels, tile_pixels(image))
    return max(decoder + stored * pixels, (stored + RESULT) * pixels)


def tile_pixels(image: Image.Image) -> int:
    """The pixels in a tile of a TIFF, which may be larger than the picture; 0 where there are no tiles."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    return int(tags.get(322, 0)) * int(tags.get(323, 0))


def refuse_too_large(image: Image.Image) -> None:
    """Raise ItemError for too many pixels by the header, before any is decoded."""
    if image.width * image.height > PIXELS_MAX:
        raise ItemError(
            f"too large to decode: {image.width}×{image.height} pixels, the limit is {PIXELS_MAX:,}; "
            "store a smaller copy of it"
        )


def refuse_too_much(needed_bytes: int, image: Image.Image) -> None:
    """Raise ItemError where decoding needs more memory than one picture may have."""
    if needed_bytes > MEMORY_MAX_BYTES:
        raise ItemError(
            f"too large to decode: {image.width}×{image.height} pixels of {image.format} {image.mode} need "
            f"{needed_bytes >> 20:,} MiB of memory, the limit is {MEMORY_MAX_BYTES >> 20:,}; store a smaller copy of it"
        )


class Budget:
    """Bytes that the threads of this process share. A thread waits only while it holds none, so none waits for ever."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self.changed = threading.Condition()
        self.of_thread = threading.local()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Within it what this thread reserves stays reserved: the picture is still there while it is resized."""
        if hasattr(self.of_thread, "bytes"):  # within another one, which releases
            yield
            return
        self.of_thread.bytes = 0
        try:
            yield
        finally:
            with self.changed:
                self.used_bytes -= self.of_thread.bytes
                self.changed.notify_all()
            del self.of_thread.bytes

    def reserve(self, needed_bytes: int) -> None:
        """Wait until so many bytes are free, and take them until the end of `kept`."""
        if needed_bytes <= SMALL_BYTES:
            return
        Image.core.set_block_size(BLOCK_BYTES)  # type: ignore[attr-defined]
        with self.changed:
            if not self.of_thread.bytes:
                self.changed.wait_for(lambda: self.used_bytes + needed_bytes <= self.limit_bytes)
            self.used_bytes += needed_bytes
            self.of_thread.bytes += needed_bytes


budget = Budget(MEMORY_MAX_BYTES)


def strips(image: Image.Image) -> Iterator[Box]:
    """Boxes of full width, from the top to the bottom, of about a million pixels each."""
    rows = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield 0, top, image.width, min(top + rows, image.height)
