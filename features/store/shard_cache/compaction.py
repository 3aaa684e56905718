"""Compaction: rewrite the shards of a store that hold rows which its items no longer need."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from icebox.features import files
from icebox.features.manifest.manifest import ManifestRow
from icebox.features.ragged import Values, joined
from icebox.features.store import index, shards, virtual_datasets
from icebox.features.store.feature_store import FeatureStore
from icebox.features.store.shard_cache import pruning
from icebox.features.store.shard_cache.cache import ShardCache
from icebox.features.store.shard_cache.places import RowLocation
from icebox.features.store.shards import SHARD_BYTES, SHARD_ROWS

RowAddress = tuple[int, int]  # shard's number, row in it


@dataclass(frozen=True)
class CompactionResult:
    """The rows dropped and shards rewritten by a compaction, and the size of the store's shards before and after."""

    rows_dropped: int
    shards_rewritten: int
    bytes_before: int
    bytes_after: int


def compact(
    store: Path,
    cache_root: Path,
    *,
    others: Sequence[Path] = (),
    shared_cache: bool = False,
    shard_rows: int = SHARD_ROWS,
    shard_bytes: int = SHARD_BYTES,
) -> CompactionResult:
    """Drop the rows that no item of `store` refers to, from it and from the shard cache unless `others` need them.

    A `shared_cache` keeps its shards, since stores that are not known here may need them.

    The old index stays until the new one replaces it, and the shards of both exist meanwhile, so a kill at any moment
    leaves a store that reads the same; running again completes it to the same bytes. Rows of contents that could not
    be read are kept, with their errors. Raises IceboxError for a damaged shard: its rows must not get a new name.
    """
    cache = ShardCache(cache_root, index.read(store).fingerprint)
    with cache.locked():
        opened = FeatureStore(store)
        rows_before, bytes_before = rows_and_bytes(opened)
        files.sweep(store)
        files.sweep(cache.folder)
        stale, kept = rows_to_rewrite(opened)
        for number in stale:
            shards.check(opened.shards[number].path)
        moved: dict[RowAddress, RowLocation] = {}
        for addresses in shard_sized(opened, kept, shard_rows, shard_bytes):
            shard = write_shard(opened, addresses, cache)
            moved |= {address: RowLocation(shard, row) for row, address in enumerate(addresses)}
        if stale:
            replace_shards(opened, stale, moved, cache, None if shared_cache else others)
        listed = {entry.name for entry in index.read(store).shards}
        for path in shards.paths(store):
            if path.name not in listed:
                path.unlink()
    rows_after, bytes_after = rows_and_bytes(FeatureStore(store))
    return CompactionResult(rows_before - rows_after, len(stale), bytes_before, bytes_after)


def rows_to_rewrite(store: FeatureStore) -> tuple[list[int], list[RowAddress]]:
    """(numbers of the shards with unneeded rows, addresses of the rows to keep of them, in manifest order)."""
    used = list(dict.fromkeys(chain(*row_addresses(store))))
    errors = [(number, row) for number, shard in enumerate(store.shards) for row in shard.errors]
    kept = list(dict.fromkeys([*used, *errors]))
    count = np.bincount([number for number, _ in kept], minlength=len(store.shards))
    stale = [number for number, shard in enumerate(store.shards) if count[number] < len(shard.item_keys)]
    return stale, [address for address in kept if address[0] in set(stale)]


def row_addresses(store: FeatureStore) -> list[list[RowAddress]]:
    """The address of each item's row, for each view."""
    return [
        list(zip(shard_of.tolist(), row_of.tolist(), strict=True))
        for shard_of, row_of in zip(store.index.shard_of, store.index.row_of, strict=True)
    ]


def shard_sized(
    store: FeatureStore, addresses: list[RowAddress], shard_rows: int, shard_bytes: int
) -> Iterator[list[RowAddress]]:
    """The addresses in groups of as many rows as a shard holds."""
    rows, size_bytes = rows_and_bytes(store)
    size = max(1, min(shard_rows, shard_bytes * rows // max(1, size_bytes)))
    for start in range(0, len(addresses), size):
        yield addresses[start : start + size]


def write_shard(store: FeatureStore, addresses: Sequence[RowAddress], cache: ShardCache) -> shards.Shard:
    """Write a new shard into the cache, with these rows of the store's shards."""
    old = {number: store.shards[number] for number, _ in addresses}
    readable = [shard for shard in old.values() if shard.arrays]  # else no content of that shard could be read
    features: dict[str, Values] = {}
    for output in store.outputs if readable else ():
        dtype = virtual_datasets.common_dtype(shard.arrays[output].dtype for shard in readable)
        ragged, shape = store.is_ragged(output), store.row_shape(output)
        missing = np.zeros((0, *shape) if ragged else shape, dtype)
        rows = [
            old[number].row(output, row).astype(dtype) if old[number].arrays else missing for number, row in addresses
        ]
        features[output] = joined(rows) if ragged else np.stack(rows)
    return cache.write(
        item_keys=[old[number].item_keys[row] for number, row in addresses],
        features=features,
        errors={
            new_row: old[number].errors[row]
            for new_row, (number, row) in enumerate(addresses)
            if row in old[number].errors
        },
        remarks={
            new_row: old[number].remarks[row]
            for new_row, (number, row) in enumerate(addresses)
            if row in old[number].remarks
        },
    )


def replace_shards(
    store: FeatureStore,
    stale: Sequence[int],
    moved: dict[RowAddress, RowLocation],
    cache: ShardCache,
    others: Sequence[Path] | None,
) -> None:
    """Put the new shards into the store, take the stale ones out of the cache, and write the new index last.

    The cache keeps those that `others` need; all of them where that is None.
    """
    places = {
        view: [moved.get((number, row), RowLocation(store.shards[number], row)) for number, row in addresses]
        for view, addresses in zip(store.views, row_addresses(store), strict=True)
    }
    rows = [
        ManifestRow(item_id=item_id, item_key="", label=label, split=split, group=group, source="")
        for item_id, label, split, group in zip(store.item_ids, store.labels, store.splits, store.groups, strict=True)
    ]
    new = {place.shard.path for place in moved.values()}
    cache.link_into(store.folder, sorted(new & {place.shard.path for place in chain(*places.values())}))
    # Before the index is written, since the store does not need the cache's copies: after a kill here, the store alone
    # shows what is left to do. A row that stayed in the cache would be put into the store by the next extraction.
    if others is not None:
        keep = pruning.shards_in_use(others) | {path.name for path in new}
        dropped = {store.shards[number].path.name for number in stale} - keep
        for path in cache.paths():
            if path.name in dropped:
                path.unlink(missing_ok=True)
    index.write(
        store.folder,
        rows=rows,
        places=places,
        spec=store.spec,
        fingerprint=store.fingerprint,
        skipped=store.skipped,
        odd=store.odd,
    )


def rows_and_bytes(store: FeatureStore) -> tuple[int, int]:
    """(rows, bytes) of a store's shards."""
    listed = store.index.shards
    return sum(entry.rows for entry in listed), sum(entry.size_bytes for entry in listed)
