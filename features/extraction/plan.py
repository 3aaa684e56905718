"""The plan of an extraction: which contents its store needs, which of them the shard cache has, and what is left.

The left ones are split into shards in the manifest's order. Shards that are made leave the others as they are, whatever
the order in which they are made: each but a view's last takes the same number of items.

Keys and places are columns; an item is made when it is asked for. Letters: n items, v views, m distinct keys.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, overload

import numpy as np

from icebox.features.abc.backbone import Backbone
from icebox.features.extraction import consistency
from icebox.features.extraction.views import ViewItem, view_keys
from icebox.features.manifest.manifest import Manifest, ManifestRow
from icebox.features.manifest.reading import Read
from icebox.features.store.shard_cache.cache import ShardCache
from icebox.features.store.shard_cache.item_keys import ItemKeys, unique
from icebox.features.store.shard_cache.places import LocatedKeys, Places, RowLocation
from icebox.features.store.shards import Shard

BLOCK_ITEMS = 1 << 12


class Plan:
    """The items of each view, the distinct contents among them by key, and where those rows are that exist."""

    def __init__(self, rows: Manifest, keys: dict[str, np.ndarray]) -> None:
        """`keys` are those (n,) S32 of each view."""
        self.rows, self.views = rows, tuple(keys)
        distinct, first, codes = unique(np.concatenate(list(keys.values())))
        self.located = LocatedKeys(distinct)
        self.first = first  # of each key (m,): its first item's position among the v·n, view by view
        self.codes = codes.reshape(len(keys), len(rows)).astype(np.int32)  # (v, n): each item's position among the keys

    @property
    def distinct(self) -> "ViewItems":
        """An item for each content, in the manifest's order."""
        return ViewItems(self, np.sort(self.first))

    @property
    def missing(self) -> "ViewItems":
        """The contents without a row, in the manifest's order."""
        return ViewItems(self, np.sort(self.first[~self.located.located]))

    def parts(self, size: int) -> list["ViewItems"]:
        """The missing contents in parts of a shard each, anew at each view: one that is added later gets the same."""
        missing = self.missing.positions
        bounds = np.searchsorted(missing, np.arange(len(self.views) + 1) * len(self.rows)).tolist()
        return [
            ViewItems(self, missing[i : min(i + size, stop)])
            for start, stop in pairwise(bounds)
            for i in range(start, stop, size)
        ]

    def joined(self, parts: Sequence["ViewItems"]) -> "ViewItems":
        """The items of several parts."""
        return ViewItems(self, np.concatenate([np.empty(0, np.int64), *(part.positions for part in parts)]))

    def stored(self, most: int) -> list[tuple[ViewItem, RowLocation]]:
        """(item, location) of those contents with a row whose keys are the smallest, as many at most."""
        numbers = np.flatnonzero(self.located.located)[:most]
        items = ViewItems(self, self.first[numbers])
        return [(item, self.located.places[i]) for item, i in zip(items, numbers.tolist(), strict=True)]

    def add(self, shard: Shard) -> None:
        """Locate the rows of a shard that was made."""
        self.located.add(shard)

    def places(self, view: str, items: np.ndarray) -> Places:
        """The locations of a view's items at these positions."""
        codes = self.codes[self.views.index(view)][items]
        return Places(self.located.shards, self.located.places.shard_of[codes], self.located.places.row_of[codes])

    def messages(self, of_shard: Callable[[Shard], dict[int, str]]) -> dict[str, str]:
        """{item_id: message} of the items with a view whose stored row has one in `of_shard(its shard)`."""
        texts: dict[int, str] = {}  # by the number of the key
        for number, shard in enumerate(self.located.shards):
            if told := of_shard(shard):
                for code in np.flatnonzero(self.located.places.shard_of == number).tolist():
                    if (row := int(self.located.places.row_of[code])) in told:
                        texts[code] = told[row]
        if not texts:
            return {}
        positions = np.flatnonzero(np.isin(self.codes, list(texts)).ravel())
        codes = self.codes.ravel()[positions].tolist()
        return {item.row.item_id: texts[code] for item, code in zip(ViewItems(self, positions), codes, strict=True)}


class ViewItems(Sequence[ViewItem]):
    """Items of a plan by their `positions` among its v·n. For another process it is a list."""

    def __init__(self, plan: Plan, positions: np.ndarray) -> None:
        self.plan, self.positions = plan, positions

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)

    def __len__(self) -> int:
        return len(self.positions)

    @overload
    def __getitem__(self, position: int) -> ViewItem: ...
    @overload
    def __getitem__(self, position: slice) -> "ViewItems": ...
    def __getitem__(self, position: int | slice) -> "ViewItem | ViewItems":
        if isinstance(position, slice):
            return ViewItems(self.plan, self.positions[position])
        return next(iter(ViewItems(self.plan, self.positions[position][None])))

    def __iter__(self) -> Iterator[ViewItem]:
        for start in range(0, len(self.positions), BLOCK_ITEMS):
            positions = self.positions[start : start + BLOCK_ITEMS]
            views, items = np.divmod(positions, max(1, len(self.plan.rows)))
            keys = ItemKeys(self.plan.located.keys[self.plan.codes[views, items]])
            for row, view, key in zip(self.plan.rows.take(items), views.tolist(), keys, strict=True):
                yield ViewItem(row, self.plan.views[view], key)


def of(rows: Sequence[ManifestRow], views: Sequence[str], read: Read) -> Plan:
    """The plan for these rows and views, which knows of no stored row yet."""
    manifest = Manifest.of(rows)
    return Plan(manifest, view_keys(manifest, views, read))


def make(rows: Sequence[ManifestRow], views: Sequence[str], read: Read, backbone: Backbone, cache: ShardCache) -> Plan:
    """The plan for these rows and views, for the holder of the cache's lock.

    Raises IceboxError where stored rows are not those that the backbone would give now.
    """
    plan = of(rows, views, read)
    cache.locate(plan.located)
    consistency.check_stored_features(plan.stored(consistency.CHECKED_ROWS), read, backbone)
    return plan
