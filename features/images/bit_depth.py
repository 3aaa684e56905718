"""16-bit pictures whose values stay in a small part of the range: 12 bits of a camera or scanner, stored in 16.

Read as 16 bits they come out nearly black, in 16 grey levels of 256.
"""

import io

import numpy as np
from PIL import Image

from icebox.features.abc.account import Account
from icebox.features.abc.dataset import Content
from icebox.features.errors import IceboxError, ItemError
from icebox.features.images import decoding

FULL_BITS = 15  # values that need so many bits use half of the range or more
EIGHT_BIT_FORMATS = (b"\xff\xd8", b"GIF8", b"RIFF", b"BM")  # the first bytes
SAMPLE = 64  # pictures that are looked at in any case; then one in 16


class BitDepths:
    """How many bits the values of a dataset's 16-bit pictures need."""

    def __init__(self) -> None:
        self.bits: dict[str, int] = {}  # by item id

    def look_at(self, content: Content, item_id: str, item_key: str) -> None:
        """Take one item into account, if it is a 16-bit picture."""
        if self.samples(item_key) and (bits := bits_needed(content)) is not None:
            self.bits[item_id] = bits

    def samples(self, item_key: str) -> bool:
        """Whether the next 16-bit picture is to be looked at; of many, a sample by their hashes."""
        return len(self.bits) < SAMPLE or item_key.startswith("0")

    def note(self, account: Account) -> None:
        """Note where all that were looked at stay in a small part of the range."""
        most = max(self.bits.values(), default=16)
        if most < FULL_BITS:
            for item_id in self.bits:
                account.note(
                    "few_of_16_bits",
                    f"16-bit pictures (looked at) whose values need no more than {most} bits and come out in "
                    f"{max(1, 2 ** (most - 8))} levels of 256; `bits: {most}` for the dataset scales them",
                    item_id,
                )


def bits_needed(content: Content) -> int | None:
    """The bits that the largest value of a 16-bit picture needs; None of another content, or of no whole picture."""
    image = open_sixteen_bit(content)
    if image is None:
        return None
    try:
        if image.mode in (*decoding.SIXTEEN_BIT, "I"):
            decoded = decoding.open_image(content, None)[0]
            return highest(decoded).bit_length() if lowest(decoded) >= 0 else None  # extraction refuses signed ones
        return int(decoding.to_pixels(content).max()).bit_length() + 8  # of color, Pillow reads the upper 8 bits
    except ItemError:
        return None


def scaled(content: Content, bits: int | None, source: str) -> Content:
    """A 16-bit picture as uint8 (h, w), its values 0 to 2^bits - 1 becoming 0..255; any other content as it is.

    Raises IceboxError, which names `source`, for values that need more bits, and for color of 16 bits.
    """
    image = None if bits is None else open_sixteen_bit(content)
    if bits is None or image is None:
        return content
    if image.mode not in (*decoding.SIXTEEN_BIT, "I"):
        raise IceboxError(
            f"bits: {source} is color of 16 bits, of which only the upper 8 can be read; store it as 8 bits"
        )
    try:
        decoded = decoding.to_upright(decoding.open_image(content, None)[0])
    except ItemError:
        return content  # extraction names it, or skips it
    limit = 2**bits - 1
    if (most := highest(decoded)) > limit:
        raise IceboxError(
            f"bits: {source} has a value of {most}, which needs {most.bit_length()} bits; "
            f"expected {bits} (0..{limit}): set it to the most that any picture needs"
        )
    values = np.asarray(decoded).astype(np.int64)
    pixels: np.ndarray = ((values * 255 + limit // 2) // limit).astype(np.uint8)
    return pixels


def highest(image: Image.Image) -> int:
    """The largest value of a grey picture."""
    return int(image.getextrema()[1])  # type: ignore[arg-type]


def lowest(image: Image.Image) -> int:
    """The smallest value of a grey picture."""
    return int(image.getextrema()[0])  # type: ignore[arg-type]


def open_sixteen_bit(content: Content) -> Image.Image | None:
    """The header of a picture of 16 bits; None of any other content. The first bytes tell for most."""
    if not isinstance(content, bytes) or content.startswith(EIGHT_BIT_FORMATS):
        return None
    try:
        image = Image.open(io.BytesIO(content), formats=decoding.FORMATS)
        raw_mode = image.tile[0].args if image.tile else ""
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, *decoding.UNREADABLE):
        return None
    return image if image.mode in (*decoding.SIXTEEN_BIT, "I") or ";16" in str(raw_mode) else None
