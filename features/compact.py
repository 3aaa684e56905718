"""Rewrite the shards of a store that hold rows which its items no longer need."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from features import atomic, index, prune, shard
from features.extract import SHARD_BYTES, SHARD_ROWS
from features.manifest import Row
from features.shard_cache import Place, ShardCache
from features.store import FeatureStore

At = tuple[int, int]  # shard's number, row in it


@dataclass(frozen=True)
class Compacted:
    """What a compaction did."""

    rows_dropped: int
    shards_rewritten: int
    bytes_before: int
    bytes_after: int


def compact(
    store: Path,
    cache_root: Path,
    *,
    others: Sequence[Path] = (),
    shard_rows: int = SHARD_ROWS,
    shard_bytes: int = SHARD_BYTES,
) -> Compacted:
    """Drop the rows that no item of `store` refers to, from it and from the shard cache unless `others` need them.

    The old index holds until the new one replaces it, and all that either lists is there meanwhile, so a kill at any
    moment leaves a store that reads the same; run again, it comes to the same bytes. Contents that could not be read
    stay known as such.
    """
    cache = ShardCache(cache_root, index.read(store).fingerprint)
    with cache.held():
        before = FeatureStore(store)
        rows_before, bytes_before = sizes(before)
        atomic.sweep(store)
        stale, moving = plan(before)
        moved: dict[At, Place] = {}
        for part in pieces(before, moving, shard_rows, shard_bytes):
            written = rewrite(before, part, cache)
            moved |= {at: Place(written, row) for row, at in enumerate(part)}
        if stale:
            replace(before, stale, moved, cache, others)
        listed = {entry.name for entry in index.read(store).shards}
        for path in store.glob("shard-*.h5"):
            if path.name not in listed:
                path.unlink()
    rows_after, bytes_after = sizes(FeatureStore(store))
    return Compacted(rows_before - rows_after, len(stale), bytes_before, bytes_after)


def plan(store: FeatureStore) -> tuple[list[int], list[At]]:
    """(numbers of the shards with rows that nothing needs, what must be kept of them in manifest order)."""
    used = list(dict.fromkeys(zip(store.index.shard_of.tolist(), store.index.row_of.tolist(), strict=True)))
    errors = [(number, row) for number, part in enumerate(store.shards) for row in part.errors]
    kept = list(dict.fromkeys([*used, *errors]))
    count = np.bincount([number for number, _ in kept], minlength=len(store.shards))
    stale = [number for number, part in enumerate(store.shards) if count[number] < len(part.item_keys)]
    return stale, [at for at in kept if at[0] in set(stale)]


def pieces(store: FeatureStore, moving: list[At], shard_rows: int, shard_bytes: int) -> Iterator[list[At]]:
    """What moves, cut into shards of the usual size."""
    row_bytes = sum(store.load_items(np.arange(1), outputs=[output]).nbytes for output in store.outputs)
    size = max(1, min(shard_rows, shard_bytes // max(1, row_bytes)))
    for start in range(0, len(moving), size):
        yield moving[start : start + size]


def rewrite(store: FeatureStore, part: Sequence[At], cache: ShardCache) -> shard.Shard:
    """A new shard in the cache with these rows of the old ones."""
    readable = [number for number, _ in part if store.shards[number].arrays]
    features = {}
    for output in store.outputs if readable else ():
        arrays = {number: store.shards[number].arrays[output] for number in readable}
        maps = {number: array.map(store.shards[number].path) for number, array in arrays.items()}
        dtype = np.result_type(*(array.dtype for array in arrays.values()))
        features[output] = np.zeros((len(part), *store.row_shape(output)), dtype)
        for row, (number, old_row) in enumerate(part):
            if number in maps:  # else nothing in that shard could be read
                features[output][row] = maps[number][old_row]
    path = shard.write(
        cache.folder,
        of=cache.fingerprint,
        item_keys=[store.shards[number].item_keys[row] for number, row in part],
        features=features,
        errors={
            new_row: store.shards[number].errors[row]
            for new_row, (number, row) in enumerate(part)
            if row in store.shards[number].errors
        },
    )
    return shard.read(path)


def replace(
    store: FeatureStore, stale: Sequence[int], moved: dict[At, Place], cache: ShardCache, others: Sequence[Path]
) -> None:
    """Put the new shards into the store, take the stale ones out of the cache, and write the new index last."""
    found = store.index
    places = [
        moved.get((number, row), Place(store.shards[number], row))
        for number, row in zip(found.shard_of.tolist(), found.row_of.tolist(), strict=True)
    ]
    rows = [
        Row(item_id=item_id, item_key=place.shard.item_keys[place.row], label=label, split=split, group="", source="")
        for item_id, label, split, place in zip(store.item_ids, store.labels, store.splits, places, strict=True)
    ]
    names = {place.shard.path.name for place in moved.values()}
    cache.link_into(store.folder, sorted(names & {place.shard.path.name for place in places}))
    # Before the index, which the store does not need them for: after a kill here, what is left to do is seen from the
    # store alone. A row that stayed in the cache would be taken into the store again by the next extraction.
    keep = prune.needed(others) | names
    for number in stale:
        if store.shards[number].path.name not in keep:
            (cache.folder / store.shards[number].path.name).unlink(missing_ok=True)
    index.write(
        store.folder, rows=rows, places=places, spec=store.spec, fingerprint=store.fingerprint, skipped=store.skipped
    )


def sizes(store: FeatureStore) -> tuple[int, int]:
    """(rows, bytes) of a store's shards."""
    listed = store.index.shards
    return sum(entry.rows for entry in listed), sum(entry.size_bytes for entry in listed)
