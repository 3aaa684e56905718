"""Views: named deterministic versions of an item, each with a row of its own in the store.

Images: `identity`, `hflip`, `five-crop` (its corners and its centre, squares of 7/8 of the shorter side) and
`random-resized-crop-N` (N crops, at most 999, like torchvision's RandomResizedCrop, drawn from the item's content and
the crop's number alone), `tiles-RxC` (R·C tiles in rows, which overlap and cover the picture). The last three are
groups; members are named `five-crop.centre`, `random-resized-crop.1` or `tile-2x3.1` (to `.6`).
A pair of texts: `first` and `second`.

A row's key is a sha256: for `identity` the item's own; for a text of a pair that text's own, so that equal texts are
encoded once, wherever they stand; for any other view the hash of the item's key and the view's name. A view that is
added later is therefore all that is extracted then.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from icebox.features import fingerprint
from icebox.features.abc.dataset import Content, Modality, Pair
from icebox.features.errors import IceboxError, suggestion
from icebox.features.images.regions import Region, five_crop_region, tile_region
from icebox.features.manifest.manifest import Manifest, ManifestRow
from icebox.features.manifest.reading import Read, content_of
from icebox.features.store.shard_cache.item_keys import DIGEST
from icebox.features.text.pairs import FIRST, TEXTS

if TYPE_CHECKING:
    from icebox.features.abc.backbone import Backbone

VERSION = 1  # raised whenever a view shows something else under the same name
IDENTITY = "identity"
HFLIP = "hflip"
FIVE_CROP = "five-crop"
CROP_POSITIONS = ("top-left", "top-right", "bottom-left", "bottom-right", "centre")
RANDOM_CROP = "random-resized-crop"
TILES = re.compile(r"tiles-([1-9][0-9]?)x([1-9][0-9]?)")
GROUPS = (IDENTITY, HFLIP, FIVE_CROP, f"{RANDOM_CROP}-N", "tiles-RxC")
CROPS_MAX = 999  # each is a row of every item
NUMBER = r"[1-9][0-9]{0,2}"  # 1 to CROPS_MAX
RANDOM_CROPS = re.compile(rf"{RANDOM_CROP}-({NUMBER})")
TILE = re.compile(r"tile-([1-9][0-9]?)x([1-9][0-9]?)\.([1-9][0-9]{0,3})")
GROUP_MEMBER = re.compile(rf"{FIVE_CROP}\.({'|'.join(CROP_POSITIONS)})|{RANDOM_CROP}\.{NUMBER}")
TOO_MANY = re.compile(rf"{RANDOM_CROP}[-.][1-9][0-9]{{3,}}")


class ViewItem(NamedTuple):
    """An item as one view shows it: the content of one row of a store."""

    row: ManifestRow
    view: str
    key: str  # sha256 (hex)


def expand_names(names: Sequence[str], where: str, *, also: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of views and of groups of an image → names of views, each once, in this order.

    `also` are further names that are allowed. Raises IceboxError, which begins with `where`, for any other name.
    """
    expanded: list[str] = []
    for name in names:
        if name == FIVE_CROP:
            expanded += [f"{FIVE_CROP}.{position}" for position in CROP_POSITIONS]
        elif crops := RANDOM_CROPS.fullmatch(name):
            expanded += [f"{RANDOM_CROP}.{number}" for number in range(1, int(crops[1]) + 1)]
        elif tiles := TILES.fullmatch(name):
            expanded += tile_names(int(tiles[1]), int(tiles[2]))
        elif name in (IDENTITY, HFLIP, *also) or GROUP_MEMBER.fullmatch(name) or is_tile(name):
            expanded.append(name)
        elif TOO_MANY.fullmatch(name):
            raise IceboxError(f"{where}: expected at most {CROPS_MAX} random crops, found '{name}'")
        else:
            raise IceboxError(f"{where}: no view '{name}'; {suggestion(name, [*GROUPS, *also])}")
    return tuple(dict.fromkeys(expanded))


def tile_names(rows: int, columns: int) -> list[str]:
    """The views of a picture in rows×columns tiles, row by row."""
    return [f"tile-{rows}x{columns}.{number}" for number in range(1, rows * columns + 1)]


def is_tile(name: str) -> bool:
    """Whether a name is that of a tile that there is."""
    tile = TILE.fullmatch(name)
    return tile is not None and int(tile[3]) <= int(tile[1]) * int(tile[2])


def region(view: str, *, height: int, width: int) -> Region:
    """The part of a picture of height×width pixels that a view shows.

    Raises IceboxError for a random crop, whose part hangs on the picture's content.
    """
    if view in (IDENTITY, HFLIP):
        return Region(0, 0, width, height, mirrored=view == HFLIP)
    if tile := TILE.fullmatch(view):
        rows, columns, number = map(int, tile.groups())
        return tile_region(rows, columns, number, height=height, width=width)
    group, _, position = view.partition(".")
    if group == FIVE_CROP:
        return five_crop_region(position, height=height, width=width)
    raise IceboxError(
        f"views: masks and boxes can't follow '{view}'; expected {IDENTITY}, {HFLIP}, {FIVE_CROP} or tiles-RxC"
    )


def json_schema(*, also: Sequence[str] = ()) -> dict[str, Any]:
    """The JSON schema of a name that `expand_names` knows."""
    examples = {
        RANDOM_CROPS: ["random-resized-crop-4"],
        TILES: ["tiles-2x3"],
        TILE: ["tile-2x3.1"],
        GROUP_MEMBER: ["five-crop.centre", "random-resized-crop.2"],
    }
    patterns = [{"pattern": f"^(?:{names.pattern})$", "examples": examples[names]} for names in examples]
    return {"type": "string", "anyOf": [{"enum": [IDENTITY, HFLIP, FIVE_CROP, *also]}, *patterns]}


def view_keys(rows: Manifest, views: Sequence[str], read: Read) -> dict[str, np.ndarray]:
    """{view: the key (n,) S32 of each row}. Contents are read only of pairs, whose texts' keys are their hashes."""
    if not set(TEXTS).isdisjoint(views):
        keys = {view: bytearray() for view in views}
        for row in rows:
            content = content_of(row, read)
            for view, digests in keys.items():
                digests += bytes.fromhex(fingerprint.of_content(text_of(content, view)))
        return {view: np.frombuffer(bytes(digests), DIGEST) for view, digests in keys.items()}
    own = rows.key_bytes()
    return {view: keys_of_view(own, view).reshape(-1).view(DIGEST) for view in views}


def keys_of_view(keys: np.ndarray, view: str) -> np.ndarray:
    """The keys (n, 32) uint8 of items' rows in a view other than a text of a pair, by the items' own."""
    if view == IDENTITY:
        return keys
    digests = bytearray().join(bytes.fromhex(view_key(key.tobytes().hex(), view)) for key in keys)
    return np.frombuffer(digests, np.uint8).reshape(-1, keys.shape[1])


def number_of_part(items: Sequence[ViewItem], parts: int) -> int:
    """The number, from 1, of the one of so many parts of an extraction to which a shard of these items belongs.

    By the contents alone, so that machines agree that know nothing of each other. Parts are of unequal size.
    """
    return int(hashlib.sha256("".join(item.key for item in items).encode()).hexdigest(), 16) % parts + 1


def view_key(item_key: str, view: str) -> str:
    """The key of an item's row in a view other than a text of a pair."""
    if view == IDENTITY:
        return item_key
    return hashlib.sha256(f"view {VERSION} {view} of {item_key}".encode()).hexdigest()


def prepare(backbone: "Backbone", content: Content, view: str) -> Any:
    """A content as a view shows it, prepared for a batch. Raises ItemError for one that can't be read."""
    if view in TEXTS:
        return backbone.prepare(text_of(content, view))
    if not isinstance(content, bytes | np.ndarray):
        return backbone.prepare(content)
    from icebox.features.images import crops, memory

    with memory.budget.kept():  # a large picture is in memory until it is resized
        if view == IDENTITY:
            return backbone.prepare(content)
        if view == HFLIP:
            return backbone.prepare(crops.mirror(content))
        return backbone.prepare_framed(crops.crop_view(content, view))


def text_of(content: Content, view: str) -> str:
    """The first or second text of a pair. Raises IceboxError for a content that is no pair."""
    if not isinstance(content, Pair):
        raise IceboxError(f"views: '{view}' is a text of a pair; found an item that is a {type(content).__name__}")
    return content.first if view == FIRST else content.second


def refuse_other_modality(views: Sequence[str], modality: Modality, family: str) -> None:
    """Raise IceboxError for a view of another modality than the backbone takes."""
    for view in views:
        if view != IDENTITY and modality != (needed := "text" if view in TEXTS else "image"):
            raise IceboxError(f"views: '{view}' is a view for a backbone of {needed}s; '{family}' takes {modality}s")
