"""Rewrite the shards of a store that hold rows which its items no longer need."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from icebox.features import files
from icebox.features.manifest.manifest import Row
from icebox.features.ragged import Values, joined
from icebox.features.store import index, pruning, shards, virtual_datasets
from icebox.features.store.cache import Place, ShardCache
from icebox.features.store.feature_store import FeatureStore
from icebox.features.store.shards import SHARD_BYTES, SHARD_ROWS

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
    with cache.locked():
        before = FeatureStore(store)
        rows_before, bytes_before = sizes(before)
        files.sweep(store)
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
    used = list(dict.fromkeys(chain(*located(store))))
    errors = [(number, row) for number, part in enumerate(store.shards) for row in part.errors]
    kept = list(dict.fromkeys([*used, *errors]))
    count = np.bincount([number for number, _ in kept], minlength=len(store.shards))
    stale = [number for number, part in enumerate(store.shards) if count[number] < len(part.item_keys)]
    return stale, [at for at in kept if at[0] in set(stale)]


def located(store: FeatureStore) -> list[list[At]]:
    """Of each view, where each item's row lies."""
    return [
        list(zip(shard_of.tolist(), row_of.tolist(), strict=True))
        for shard_of, row_of in zip(store.index.shard_of, store.index.row_of, strict=True)
    ]


def pieces(store: FeatureStore, moving: list[At], shard_rows: int, shard_bytes: int) -> Iterator[list[At]]:
    """What moves, cut into shards of the usual size."""
    rows, size_bytes = sizes(store)
    size = max(1, min(shard_rows, shard_bytes * rows // max(1, size_bytes)))
    for start in range(0, len(moving), size):
        yield moving[start : start + size]


def rewrite(store: FeatureStore, part: Sequence[At], cache: ShardCache) -> shards.Shard:
    """A new shard in the cache with these rows of the old ones."""
    old = {number: store.shards[number] for number, _ in part}
    readable = [one for one in old.values() if one.arrays]  # else nothing in that shard could be read
    features: dict[str, Values] = {}
    for output in store.outputs if readable else ():
        dtype = virtual_datasets.common_dtype(one.arrays[output].dtype for one in readable)
        ragged, shape = store.is_ragged(output), store.row_shape(output)
        nothing = np.zeros((0, *shape) if ragged else shape, dtype)
        rows = [old[number].row(output, row).astype(dtype) if old[number].arrays else nothing for number, row in part]
        features[output] = joined(rows) if ragged else np.stack(rows)
    path = shards.write(
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
    return shards.read(path)


def replace(
    store: FeatureStore, stale: Sequence[int], moved: dict[At, Place], cache: ShardCache, others: Sequence[Path]
) -> None:
    """Put the new shards into the store, take the stale ones out of the cache, and write the new index last."""
    places = {
        view: [moved.get(at, Place(store.shards[at[0]], at[1])) for at in of_view]
        for view, of_view in zip(store.views, located(store), strict=True)
    }
    rows = [
        Row(item_id=item_id, item_key="", label=label, split=split, group=group, source="")
        for item_id, label, split, group in zip(store.item_ids, store.labels, store.splits, store.groups, strict=True)
    ]
    names = {place.shard.path.name for place in moved.values()}
    cache.link_into(store.folder, sorted(names & {place.shard.path.name for place in chain(*places.values())}))
    # Before the index, which the store does not need them for: after a kill here, what is left to do is seen from the
    # store alone. A row that stayed in the cache would be taken into the store again by the next extraction.
    keep = pruning.needed(others) | names
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
