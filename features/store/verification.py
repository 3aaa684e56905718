"""Verify that a store and the shard cache behind it are whole, byte by byte, and repair each from the other."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from icebox.features.errors import IceboxError
from icebox.features.ragged import OFFSETS
from icebox.features.store import hdf5, index, shards, targets
from icebox.features.store.feature_store import FeatureStore
from icebox.features.store.shard_cache.adoption import adopt
from icebox.features.store.shard_cache.cache import ShardCache
from icebox.features.store.shards import DamagedShard

BLOCK_ITEMS = 4096


@dataclass(frozen=True)
class Damage:
    """A damaged file, and what is wrong with it; or one that could not be read now, and may well be whole."""

    path: Path
    problem: str
    unreadable: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


def verify_store(store: Path) -> list[Damage]:
    """Everything that is wrong with a finished store; none if it is whole."""
    path = store / index.FILE
    try:
        opened = index.read(store)
        opened.check_columns()
    except IceboxError as error:  # of those errors only one of a broken index has a hint
        return [Damage(path, str(error).removeprefix(f"{path}: "), unreadable=error.hint is None)]
    damages = [damage for entry in opened.shards for damage in verify_shard(store / entry.name, entry)]
    damages = damages or list(verify_index(store))
    return damages if any(damage.path == path for damage in damages) else [*damages, *verify_targets(store, opened)]


def verify_shard(path: Path, entry: index.ShardEntry) -> Iterator[Damage]:
    """Differences between a shard and the index's entry for it."""
    try:
        size_bytes = path.stat().st_size
        if size_bytes != entry.size_bytes:
            yield Damage(path, f"expected {entry.size_bytes:,} bytes, found {size_bytes:,}")
            return
        shards.check(path)
    except FileNotFoundError:
        yield Damage(path, "this shard of the store is missing")
    except OSError as reason:
        yield unreadable(path, shards.unreadable(path, reason))
    except DamagedShard as damage:
        yield Damage(path, str(damage).removeprefix(f"{path}: "))
    except IceboxError as reason:
        yield unreadable(path, reason)


def unreadable(path: Path, reason: IceboxError) -> Damage:
    """The entry for a file that can't be read now."""
    return Damage(path, str(reason).removeprefix(f"{path}: "), unreadable=True)


def verify_index(store: Path) -> Iterator[Damage]:
    """Faults of an index whose shards are whole: rows that do not exist, or other features in plain h5py."""
    path = store / index.FILE
    opened = FeatureStore(store)
    columns = opened.index
    if {len(c) for c in (columns.labels, columns.splits, columns.groups, *columns.shard_of, *columns.row_of)} != {
        len(opened)
    }:
        yield Damage(path, "its columns differ in length")
        return
    for shard, entry in zip(opened.shards, columns.shards, strict=True):
        if len(shard.item_keys) != entry.rows or shard.arrays != entry.arrays:
            yield Damage(path, f"its rows and arrays of {entry.name} are not those of that shard")
            return
    rows = np.array([entry.rows for entry in columns.shards])
    if (columns.shard_of >= len(rows)).any() or (columns.row_of >= rows[columns.shard_of]).any():
        yield Damage(path, "it points to rows that no shard has")
        return
    if len({shard.fingerprint for shard in opened.shards} | {columns.fingerprint}) != 1:
        yield Damage(path, "its fingerprint is not that of its shards")
    try:
        with h5py.File(path) as file:
            for view, group in zip(opened.views, index.view_groups(opened.views), strict=True):
                for output in opened.outputs:
                    if not virtual_dataset_matches(file[group or "/"], opened, output, view):
                        yield Damage(path, f"{group}features/{output} in plain h5py is not what the shards hold")
    except hdf5.BROKEN as reason:
        yield Damage(path, f"its features can't be read in plain h5py: {reason}")


def verify_targets(store: Path, opened: index.Index) -> Iterator[Damage]:
    """Faults of the masks or boxes of a store that has some: each one is read, and compared with its digest."""
    path = store / targets.FILE
    ids, labels = (index.decoded_texts(column) for column in (opened.item_ids, opened.labels))
    if not path.exists() and not targets.are_digests(labels):
        return
    stored = targets.StoredTargets(store, ids, labels)
    try:
        for item in range(len(stored)):
            stored[item]
    except IceboxError as error:
        yield Damage(path, str(error).removeprefix(f"{path}: "), unreadable=error.hint is None)


def virtual_dataset_matches(group: h5py.Group, store: FeatureStore, output: str, view: str) -> bool:
    """Whether plain h5py reads the same features as the shards hold."""
    virtual, n = group[f"features/{output}"], len(store)
    blocks = np.split(np.arange(n), range(BLOCK_ITEMS, n, BLOCK_ITEMS))
    if not store.is_ragged(output):
        return len(virtual) == n and all(
            np.array_equal(virtual[items[0] : items[-1] + 1], store.rows(items, output, view=view)) for items in blocks
        )
    offsets = group[OFFSETS + output][:]
    stored = ((items, store.ragged_rows(items, output, view=view)) for items in blocks)
    return (len(offsets), offsets[-1]) == (n + 1, len(virtual)) and all(
        np.array_equal(offsets[items[0] : items[-1] + 2] - offsets[items[0]], rows.offsets)
        and np.array_equal(virtual[offsets[items[0]] : offsets[items[-1] + 1]], rows.values)
        for items, rows in stored
    )


def verify_cache(cache: ShardCache, store: Path) -> list[Damage]:
    """Damaged and unreadable shards of a shard cache, but for those that are the same file as in `store`."""
    damages = []
    for path in cache.paths():
        try:
            if not ((store / path.name).exists() and path.samefile(store / path.name)):
                shards.check(path)
        except DamagedShard:
            damages.append(Damage(path, "its bytes have changed"))
        except (IceboxError, OSError) as reason:
            error = reason if isinstance(reason, IceboxError) else shards.unreadable(path, reason)
            damages.append(unreadable(path, error))
    return damages


def repair(store: Path, cache_root: Path) -> list[str]:
    """Set aside damaged shards of the store and of its shard cache, and put back those that the other has whole.

    Returns the names of the files that are lost: shards, whose rows, and only those, must be extracted again, and the
    targets, which extraction writes anew. Raises
    IceboxError where the index is broken: extraction then writes another over the same shards. What can't be read now
    stays as it is.
    """
    cache = ShardCache(cache_root, index.read(store).fingerprint)
    with cache.locked():
        damaged = {damage.path.name for damage in verify_store(store) if not damage.unreadable}
        missing = damaged - {index.FILE, targets.FILE}
        suspects = [store / name for name in sorted(missing)]
        suspects += [path for path in cache.paths() if path.name in missing]
        suspects += [damage.path for damage in verify_cache(cache, store) if not damage.unreadable]
        for path in dict.fromkeys(suspects):
            if path.exists() and shards.is_damaged(path):
                shards.set_aside(path, cache.folder)
        whole = {path.name: path for path in cache.paths()}
        cache.link_into(store, [whole[name] for name in sorted(missing & whole.keys())])
    adopt(store, cache_root)
    return sorted((missing - whole.keys()) | (damaged & {targets.FILE}))
