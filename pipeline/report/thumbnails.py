"""Items made small enough to show on a page: a picture as a data URL, or the beginning of a text."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from icebox.features.abc.dataset import Content, Pair
from icebox.features.errors import IceboxError
from icebox.features.images.decoding import to_image
from icebox.features.manifest.manifest import ManifestRow
from icebox.pipeline.catalog import datasets
from icebox.pipeline.config.schema import Config

SIDE_MAX = 128  # pixels; a larger picture is reduced to this
TEXT_MAX = 280  # characters
JPEG_QUALITY = 82  # 4 KB for a photo of 128 pixels, where PNG takes 30


@dataclass(frozen=True)
class Exhibit:
    """A picture (a data URL and its size in pixels) or a text; neither where the content is not on this machine."""

    picture: str = ""
    width: int = 0
    height: int = 0
    text: str = ""


class Gallery:
    """The items of one dataset by id, as far as its raw data is here. Each is made at most once."""

    def __init__(self, config: Config, dataset: str, rows: Sequence[ManifestRow]) -> None:
        self._sources = {row.item_id: row.source for row in rows}
        self._source = datasets.source(config, dataset)
        self._shown: dict[tuple[str, int], Exhibit] = {}

    def show(self, item_id: str, *, side: int = SIDE_MAX, length: int = TEXT_MAX) -> Exhibit:
        """The item, small; an empty exhibit where it can't be read, since raw data need not be on this machine."""
        key = item_id, side
        if key not in self._shown:
            try:
                self._shown[key] = exhibit(self._source.read(self._sources[item_id]), side=side, length=length)
            except (KeyError, OSError, IceboxError):
                self._shown[key] = Exhibit()
        return self._shown[key]


def exhibit(content: Content, *, side: int = SIDE_MAX, length: int = TEXT_MAX) -> Exhibit:
    """A text shortened at a word, or a picture: small ones to the pixel (PNG), larger ones reduced (JPEG)."""
    if isinstance(content, Pair):
        first, second = (shortened(text, length // 2) for text in (content.first, content.second))
        return Exhibit(text=f"{first} ‖ {second}")
    if isinstance(content, str):
        return Exhibit(text=shortened(content, length))
    image = to_image(content)
    reduced = max(image.size) > side
    if reduced:
        image = image.copy()
        image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    stream = io.BytesIO()
    image.save(stream, "JPEG" if reduced else "PNG", quality=JPEG_QUALITY, optimize=True)
    encoded = base64.b64encode(stream.getvalue()).decode()
    return Exhibit(f"data:image/{'jpeg' if reduced else 'png'};base64,{encoded}", image.width, image.height)


def shortened(text: str, length: int = TEXT_MAX) -> str:
    """At most `length` characters on one line, cut between words where there are words."""
    line = " ".join(text.split())
    if len(line) <= length:
        return line
    head = line[: length - 1]
    return (head[: head.rindex(" ")] if " " in head[length // 2 :] else head) + "…"
