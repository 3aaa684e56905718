"""Views: named deterministic versions of an item, each with a row of its own in the store.

Images: `identity`, `hflip`, `five-crop` (its corners and its centre, squares of 7/8 of the shorter side) and
`random-resized-crop-N` (N crops as torchvision's RandomResizedCrop draws them, from the item's content and the crop's
number alone). The last two are groups, whose members are named `five-crop.centre` or `random-resized-crop.1`.
A pair of texts: `first` and `second`.

A row's key is the sha256 of what it shows: of `identity` the item's own, of a pair's text that text's own, so that
equal texts pass once, wherever they stand; of any other view that of the item's key and the view's name. So a view
that is added later is all that is extracted then.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from icebox.features import fingerprint
from icebox.features.abc.dataset import Content, Modality, Pair
from icebox.features.errors import IceboxError, suggestion
from icebox.features.manifest.manifest import ManifestRow
from icebox.features.manifest.reading import Read, content_of
from icebox.features.text.pairs import FIRST, SECOND, TEXTS

if TYPE_CHECKING:
    from icebox.features.abc.backbone import Backbone

VERSION = 1  # raised whenever a view shows something else under the same name
IDENTITY = "identity"
HFLIP = "hflip"
FIVE_CROP = "five-crop"
CROP_POSITIONS = ("top-left", "top-right", "bottom-left", "bottom-right", "centre")
RANDOM_CROP = "random-resized-crop"
GROUPS = (IDENTITY, HFLIP, FIVE_CROP, f"{RANDOM_CROP}-N")
RANDOM_CROPS = re.compile(rf"{RANDOM_CROP}-([1-9]\d*)")
GROUP_MEMBER = re.compile(rf"{FIVE_CROP}\.({'|'.join(CROP_POSITIONS)})|{RANDOM_CROP}\.[1-9]\d*")


class ViewItem(NamedTuple):
    """What one row of a store is of: an item as one view shows it."""

    row: ManifestRow
    view: str
    key: str  # sha256 (hex)


def expand_names(names: Sequence[str], where: str, *, also: Sequence[str] = ()) -> tuple[str, ...]:
    """The views of an image that these names stand for, each once, in this order; `also` are names for themselves.

    Raises IceboxError for any other name.
    """
    found: list[str] = []
    for name in names:
        if name == FIVE_CROP:
            found += [f"{FIVE_CROP}.{place}" for place in CROP_POSITIONS]
        elif crops := RANDOM_CROPS.fullmatch(name):
            found += [f"{RANDOM_CROP}.{number}" for number in range(1, int(crops[1]) + 1)]
        elif name in (IDENTITY, HFLIP, *also) or GROUP_MEMBER.fullmatch(name):
            found.append(name)
        else:
            raise IceboxError(f"{where}: no view '{name}'; {suggestion(name, [*GROUPS, *also])}")
    return tuple(dict.fromkeys(found))


def view_items(rows: Sequence[ManifestRow], views: Sequence[str], read: Read) -> dict[str, list[ViewItem]]:
    """{view: a unit for each row}. Only the texts of pairs are read, since their keys are their own."""
    found: dict[str, list[ViewItem]] = {view: [] for view in views}
    for row in rows:
        content = content_of(row, read) if FIRST in found or SECOND in found else None
        for view, of_view in found.items():
            key = view_key(row.item_key, view) if content is None else fingerprint.of_content(text_of(content, view))
            of_view.append(ViewItem(row, view, key))
    return found


def shard_parts(units: Sequence[ViewItem], size: int) -> Iterator[list[ViewItem]]:
    """Cut units into shards' worth, anew at each view: so a view that is added later comes to the same shards."""
    for _, group in groupby(units, key=lambda unit: unit.view):
        of_view = list(group)
        yield from (of_view[start : start + size] for start in range(0, len(of_view), size))


def view_key(item_key: str, view: str) -> str:
    """The key of a view's row that follows from the item's."""
    if view == IDENTITY:
        return item_key
    return hashlib.sha256(f"view {VERSION} {view} of {item_key}".encode()).hexdigest()


def prepare(backbone: "Backbone", content: Content, view: str) -> Any:
    """A content as a view shows it, ready for a batch. Raises ItemError for one that can't be read."""
    if view == IDENTITY:
        return backbone.prepare(content)
    if view in TEXTS:
        return backbone.prepare(text_of(content, view))
    from icebox.features.images import crops

    if view == HFLIP:
        return backbone.prepare(crops.mirror(content))
    return backbone.prepare_framed(crops.crop_view(content, view))


def text_of(content: Content, view: str) -> str:
    """One text of a pair."""
    if not isinstance(content, Pair):
        raise IceboxError(f"views: '{view}' is a text of a pair; found an item that is a {type(content).__name__}")
    return content.first if view == FIRST else content.second


def refuse_other_modality(views: Sequence[str], modality: Modality, family: str) -> None:
    """Raise IceboxError for a view of what the backbone does not take."""
    for view in views:
        if view != IDENTITY and modality != (needed := "text" if view in TEXTS else "image"):
            raise IceboxError(f"views: '{view}' is a view for a backbone of {needed}s; '{family}' takes {modality}s")
