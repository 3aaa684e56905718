"""Items made small enough to show on a page: a picture as a data URL, or the beginning of a text."""

import base64
import io
from dataclasses import dataclass

from PIL import Image

from features import manifest, plugins
from features.datasets.base import Content, Dataset
from features.decode import to_image
from features.errors import IceboxError
from pipeline import paths
from pipeline.config import Config

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
    """The items of one dataset by id, as far as its manifest and its raw data are here. Each is read at most once."""

    def __init__(self, config: Config, dataset: str) -> None:
        entry, path = config.datasets[dataset], paths.manifest(dataset)
        self.rows: list[manifest.Row] = manifest.read(path) if path.exists() else []
        self._sources = {row.item_id: row.source for row in self.rows}
        self._source: Dataset = plugins.load("features.datasets", entry.family).Source(**entry.parameters)
        self._shown: dict[str, Exhibit] = {}

    def show(self, item_id: str) -> Exhibit:
        """The item, small; an empty exhibit where it can't be read, since raw data need not be on this machine."""
        if item_id not in self._shown:
            try:
                self._shown[item_id] = exhibit(self._source.read(self._sources[item_id]))
            except (KeyError, OSError, IceboxError):
                self._shown[item_id] = Exhibit()
        return self._shown[item_id]


def exhibit(content: Content) -> Exhibit:
    """A text shortened at a word, or a picture: small ones to the pixel (PNG), larger ones reduced (JPEG)."""
    if isinstance(content, str):
        return Exhibit(text=shortened(content))
    image = to_image(content)
    reduced = max(image.size) > SIDE_MAX
    if reduced:
        image = image.copy()
        image.thumbnail((SIDE_MAX, SIDE_MAX), Image.Resampling.LANCZOS, reducing_gap=2.0)
    stream = io.BytesIO()
    image.save(stream, "JPEG" if reduced else "PNG", quality=JPEG_QUALITY, optimize=True)
    encoded = base64.b64encode(stream.getvalue()).decode()
    return Exhibit(f"data:image/{'jpeg' if reduced else 'png'};base64,{encoded}", image.width, image.height)


def shortened(text: str) -> str:
    """At most TEXT_MAX characters on one line, cut between words where there are words."""
    line = " ".join(text.split())
    if len(line) <= TEXT_MAX:
        return line
    head = line[: TEXT_MAX - 1]
    return (head[: head.rindex(" ")] if " " in head[TEXT_MAX // 2 :] else head) + "…"
