"""What is wrong with a store, or with the shard cache behind it: every byte of every shard is read."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from icebox.features.errors import IceboxError
from icebox.features.ragged import OFFSETS
from icebox.features.store import hdf5, index, shards
from icebox.features.store.feature_store import FeatureStore

BLOCK_ITEMS = 4096


@dataclass(frozen=True)
class Damage:
    """A file that is not what it should be, and what it is instead."""

    path: Path
    found: str

    def __str__(self) -> str:
        return f"{self.path}: {self.found}"


def of_store(store: Path) -> list[Damage]:
    """Everything wrong with a finished store; none if it is whole."""
    try:
        found = index.read(store)
        found.check()
    except IceboxError as reason:
        return [Damage(store / index.FILE, str(reason).removeprefix(f"{store / index.FILE}: "))]
    damages = [damage for entry in found.shards for damage in of_shard(store / entry.name, entry)]
    return damages or list(of_index(store))


def of_shard(path: Path, entry: index.Listed) -> Iterator[Damage]:
    """What is wrong with one shard, given what the index says of it."""
    if not path.exists():
        yield Damage(path, "this shard of the store is missing")
    elif (found_bytes := path.stat().st_size) != entry.size_bytes:
        yield Damage(path, f"expected {entry.size_bytes:,} bytes, found {found_bytes:,}")
    elif (name := shards.name_of(path)) != path.name:
        yield Damage(path, f"its bytes have changed: they are those of {name}")


def of_index(store: Path) -> Iterator[Damage]:
    """What is wrong with an index whose shards are whole: rows that do not exist, or another view in plain h5py."""
    path = store / index.FILE
    opened = FeatureStore(store)
    found = opened.index
    if {len(column) for column in (found.labels, found.splits, found.groups, *found.shard_of, *found.row_of)} != {
        len(opened)
    }:
        yield Damage(path, "its columns differ in length")
        return
    for part, entry in zip(opened.shards, found.shards, strict=True):
        if len(part.item_keys) != entry.rows or part.arrays != entry.arrays:
            yield Damage(path, f"its rows and arrays of {entry.name} are not those of that shard")
            return
    rows = np.array([entry.rows for entry in found.shards])
    if (found.shard_of >= len(rows)).any() or (found.row_of >= rows[found.shard_of]).any():
        yield Damage(path, "it points to rows that no shard has")
        return
    if len({part.fingerprint for part in opened.shards} | {found.fingerprint}) != 1:
        yield Damage(path, "its fingerprint is not that of its shards")
    try:
        with h5py.File(path) as file:
            for view, group in zip(opened.views, index.groups_of(opened.views), strict=True):
                for output in opened.outputs:
                    if not same(file[group or "/"], opened, output, view):
                        yield Damage(path, f"{group}features/{output} in plain h5py is not what the shards hold")
    except hdf5.BROKEN as reason:
        yield Damage(path, f"its features can't be read in plain h5py: {reason}")


def same(group: h5py.Group, store: FeatureStore, output: str, view: str) -> bool:
    """Whether plain h5py gives what the shards hold."""
    joined, n = group[f"features/{output}"], len(store)
    blocks = np.split(np.arange(n), range(BLOCK_ITEMS, n, BLOCK_ITEMS))
    if not store.is_ragged(output):
        return len(joined) == n and all(
            np.array_equal(joined[items[0] : items[-1] + 1], store.rows(items, output, view=view)) for items in blocks
        )
    offsets = group[OFFSETS + output][:]
    held = ((items, store.ragged_rows(items, output, view=view)) for items in blocks)
    return (len(offsets), offsets[-1]) == (n + 1, len(joined)) and all(
        np.array_equal(offsets[items[0] : items[-1] + 2] - offsets[items[0]], rows.offsets)
        and np.array_equal(joined[offsets[items[0]] : offsets[items[-1] + 1]], rows.values)
        for items, rows in held
    )


def of_cache(folder: Path, store: Path) -> list[Damage]:
    """Damaged shards of one fingerprint's shard cache, but for those that are the same file as in `store`."""
    return [
        Damage(path, "its bytes have changed")
        for path in sorted(folder.glob("shard-*.h5"))
        if not ((store / path.name).exists() and path.samefile(store / path.name)) and shards.name_of(path) != path.name
    ]
