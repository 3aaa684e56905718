"""Items as they lie in memory (paths, images, arrays, texts, columns of a table) → contents that a backbone takes."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.base import BaseEstimator

from icebox.features import fingerprint
from icebox.features.abc.dataset import Content, Modality, Pair
from icebox.features.errors import IceboxError, ItemError
from icebox.features.images import decoding
from icebox.features.manifest.manifest import ManifestRow
from icebox.features.text import cleaning
from icebox.pipeline.inference.reading.new_items import NewItem, read_image


class RawItemsEstimator(BaseEstimator):
    """Base class of estimators that take raw items in one dimension, texts among them, and check these themselves."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.no_validation = True
        return tags


class RawItems:
    """n items of one modality. Files are read when their content is asked for, so that a list of paths stays small.

    Texts are cleaned by the steps `clean`, but for those of a `NewItem`, which its source has cleaned.
    """

    def __init__(self, items: Any, modality: Modality, *, clean: Sequence[str] = ()) -> None:
        self.items = as_sequence(items)
        self.modality = modality
        self.clean = clean

    def __len__(self) -> int:
        return len(self.items)

    def name(self, position: int) -> str:
        """The item's name in messages: its position, and the path where it is one."""
        item = self.items[position]
        is_path = isinstance(item, Path) or (self.modality == "image" and isinstance(item, str))
        name = f"{position} ({item})" if is_path else str(position)
        return name.encode(errors="backslashreplace").decode()  # a file's name may be no Unicode

    def content(self, position: int) -> Content:
        """The content of one item. Raises ItemError, which names the position, for one that can't be read."""
        try:
            item = self.items[position]
            return item.read() if isinstance(item, NewItem) else cleaned(content_of(item, self.modality), self.clean)
        except ItemError as error:
            raise error.at(f"item '{self.name(position)}'") from error

    def new_items(self) -> Iterator[NewItem]:
        """The items in their order, as `predict` takes them."""
        for position in range(len(self)):
            yield NewItem(str(position), f"item '{self.name(position)}'", partial(self.content, position))

    def manifest(self) -> list[ManifestRow]:
        """A row for each item; `read` finds its content again."""
        return [
            ManifestRow(
                item_id=self.name(position),
                item_key=fingerprint.of_content(self.content(position)),
                label="",
                split="train",
                group="",
                source=str(position),
            )
            for position in range(len(self))
        ]

    def read(self, source: str) -> Content:
        """The content behind the `source` of a row."""
        return self.content(int(source))


def as_sequence(items: Any) -> Sequence[Any]:
    """A list, array (n,), (n, 1), (n, h, w) or (n, h, w, 3), or a table's column → a sequence of n items.

    Raises IceboxError for one item alone, for no items and for several columns.
    """
    if isinstance(items, (str, bytes, Path, Image.Image)):
        raise IceboxError(f"expected a sequence of items, found one {type(items).__name__}; put it into a list")
    if hasattr(items, "to_numpy"):  # a column or a table of pandas or polars
        items = items.to_numpy()
    sequence: Sequence[Any] = column_or_images(items) if isinstance(items, np.ndarray) else list(items)
    if not len(sequence):
        raise IceboxError("expected at least one item, found none")
    return sequence


def column_or_images(items: np.ndarray) -> Sequence[Any]:
    """The items of an array (n,), (n, 1), or of images (n, h, w) or (n, h, w, 3)."""
    if items.ndim == 2 and items.shape[1] == 1:
        return list(items[:, 0])
    if items.ndim == 2 or items.ndim not in (1, 3, 4):
        raise IceboxError(f"expected one column of items, found an array {items.shape}; pick a column")
    if items.ndim == 3 and items.shape[2] == 3:
        raise IceboxError(f"expected a sequence of images, found one, an array {items.shape}; put it into a list")
    return list(items)


def content_of(item: Any, modality: Modality) -> Content:
    """One item → its content. Raises ItemError, which does not know the item's position."""
    match modality, item:
        case "image", str() | Path():
            return read_image(Path(item))
        case "image", bytes() | np.ndarray():
            return item
        case "image", Image.Image():
            try:
                return np.asarray(decoding.finish_image(item))
            except decoding.UNREADABLE as reason:
                raise ItemError(f"damaged or cut short: {reason}") from reason
        case "text", str():
            return str(item)  # of a numpy string, too
        case "pair", Pair():
            return item
        case "pair", (str(first), str(second)):
            return Pair(first, second)
    raise ItemError(f"expected {EXPECTED[modality]}, found {type(item).__name__}: {str(item)[:40]!r}")


def cleaned(content: Content, steps: Sequence[str]) -> Content:
    """A text, or both of a pair, cleaned by these steps; any other content as it is."""
    match content:
        case str():
            return cleaning.clean(content, steps)
        case Pair(first, second):
            return Pair(cleaning.clean(first, steps), cleaning.clean(second, steps))
    return content


EXPECTED = {
    "image": "a path, a Pillow image or a uint8 array (height, width[, 3])",
    "text": "a text",
    "pair": "two texts",
    "sequence": "a stored sequence, which can't be given in memory",
}
