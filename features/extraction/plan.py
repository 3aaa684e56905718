"""The plan of an extraction: which contents its store needs, which of them the shard cache has, and what is left.

The left ones are split into shards in the manifest's order. Shards that are made leave the others as they are, whatever
the order in which they are made: each but a view's last takes the same number of items.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from icebox.features.abc.backbone import Backbone
from icebox.features.extraction import consistency
from icebox.features.extraction.views import ViewItem, view_items
from icebox.features.manifest.manifest import ManifestRow
from icebox.features.manifest.reading import Read
from icebox.features.store.cache import RowLocation, ShardCache
from icebox.features.store.shards import Shard


@dataclass
class Plan:
    """The items of each view, the distinct contents among them by key, and where those rows are that exist."""

    items: Mapping[str, Sequence[ViewItem]]
    distinct: Mapping[str, ViewItem]
    locations: dict[str, RowLocation]

    @property
    def missing(self) -> list[ViewItem]:
        """The contents without a row, in the manifest's order."""
        return [item for key, item in self.distinct.items() if key not in self.locations]

    def add(self, shard: Shard) -> None:
        """Locate the rows of a shard that was made."""
        self.locations |= {key: RowLocation(shard, row) for row, key in enumerate(shard.item_keys)}

    def messages(self, of_shard: Callable[[Shard], dict[int, str]]) -> dict[str, str]:
        """{item_id: message} of the items with a view whose stored row has one in `of_shard(its shard)`."""
        return {item_id: message for item_id, message in self._messages(of_shard)}

    def _messages(self, of_shard: Callable[[Shard], dict[int, str]]) -> Iterator[tuple[str, str]]:
        for item in chain(*self.items.values()):
            location = self.locations.get(item.key)
            if location and location.row in (messages := of_shard(location.shard)):
                yield item.row.item_id, messages[location.row]


def make(rows: Sequence[ManifestRow], views: Sequence[str], read: Read, backbone: Backbone, cache: ShardCache) -> Plan:
    """The plan for these rows and views, for the holder of the cache's lock.

    Raises IceboxError where stored rows are not those that the backbone would give now.
    """
    items = view_items(rows, views, read)
    distinct: dict[str, ViewItem] = {}
    for item in chain(*items.values()):
        distinct.setdefault(item.key, item)
    locations = cache.places(distinct)
    reused = [(item, locations[key]) for key, item in distinct.items() if key in locations]
    consistency.check_stored_features(reused, read, backbone)
    return Plan(items, distinct, locations)
