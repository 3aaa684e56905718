"""Thumbnails: items made small enough for a page, an image as a data URL or the beginning of a text."""

import base64
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from PIL import Image

from icebox.features.abc.dataset import Content, Pair
from icebox.features.errors import IceboxError
from icebox.features.images.decoding import to_image
from icebox.features.manifest.manifest import ManifestRow
from icebox.features.manifest.reading import content_of
from icebox.pipeline.catalog import datasets
from icebox.pipeline.config.schema import Config

SIDE_MAX = 128  # pixels; a larger image is reduced to this
TEXT_MAX = 280  # characters
JPEG_QUALITY = 82  # 4 KB for a photo of 128 pixels, where PNG takes 30


@dataclass(frozen=True)
class Thumbnail:
    """An image (a data URL and its size in pixels) or a text; neither where the content is not on this machine."""

    image: str = ""
    width: int = 0
    height: int = 0
    text: str = ""


class Thumbnails:
    """The thumbnails of one dataset's items by id, as far as its raw data is here. Each is made at most once."""

    def __init__(self, config: Config, dataset: str, rows: Mapping[str, ManifestRow]) -> None:
        self._rows = rows
        self._dataset = datasets.source(config, dataset)
        self._made: dict[tuple[str, int], Thumbnail] = {}

    def get(self, item_id: str, *, side_max: int = SIDE_MAX, text_max: int = TEXT_MAX) -> Thumbnail:
        """The item's thumbnail; an empty one where it can't be read, since raw data need not be on this machine.

        So it is where the content is another than the manifest's by now.
        """
        key = item_id, side_max
        if key not in self._made:
            try:
                content = content_of(self._rows[item_id], self._dataset.read)
                self._made[key] = make_thumbnail(content, side_max=side_max, text_max=text_max)
            except (KeyError, OSError, IceboxError):
                self._made[key] = Thumbnail()
        return self._made[key]

    def are_absent(self, item_ids: Iterable[str]) -> bool:
        """Whether none of these items can be shown."""
        thumbnails = [self.get(item_id) for item_id in item_ids]
        return not any(thumbnail.image or thumbnail.text for thumbnail in thumbnails)


def make_thumbnail(content: Content, *, side_max: int = SIDE_MAX, text_max: int = TEXT_MAX) -> Thumbnail:
    """A text cut between words, or an image: a small one to the pixel (PNG), a larger one reduced (JPEG)."""
    if isinstance(content, Pair):
        first, second = (shorten(text, text_max // 2) for text in (content.first, content.second))
        return Thumbnail(text=f"{first} ‖ {second}")
    if isinstance(content, str):
        return Thumbnail(text=shorten(content, text_max))
    image = to_image(content)
    reduced = max(image.size) > side_max
    if reduced:
        image = image.copy()
        image.thumbnail((side_max, side_max), Image.Resampling.LANCZOS, reducing_gap=2.0)
    stream = io.BytesIO()
    image.save(stream, "JPEG" if reduced else "PNG", quality=JPEG_QUALITY, optimize=True)
    encoded = base64.b64encode(stream.getvalue()).decode()
    return Thumbnail(f"data:image/{'jpeg' if reduced else 'png'};base64,{encoded}", image.width, image.height)


def shorten(text: str, length: int = TEXT_MAX) -> str:
    """At most `length` characters on one line, cut between words where there are words."""
    line = " ".join(text.split())
    if len(line) <= length:
        return line
    beginning = line[: length - 1]
    return (beginning[: beginning.rindex(" ")] if " " in beginning[length // 2 :] else beginning) + "…"
