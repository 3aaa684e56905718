"""Read the arrays of a store's shards: copied where rows are adjacent, else through memory maps.

A map is opened at first use, in each process for itself. A shard that was not read on this machine yet is compared with
the sha256 in its name before any of its rows is given out.
"""

import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from icebox.features.errors import IceboxError
from icebox.features.store.checksums import Checksums
from icebox.features.store.shards import ArrayLocation, unreadable

MAX_OPEN = 256  # Python keeps a file descriptor for each map, and 1,024 are allowed by default


class ShardMaps:
    """Maps of a store's shards. May be pickled, sent to other processes and used in threads."""

    def __init__(self, shards: Sequence[tuple[Path, dict[str, ArrayLocation]]], checksums: Checksums) -> None:
        self._shards = shards
        self._checksums = checksums
        self._checked: set[int] = set()
        self._open: dict[int, mmap.mmap] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}}

    def check(self, numbers: np.ndarray) -> None:
        """Compare shards that are about to be read with their names. Raises DamagedShard where one differs."""
        if len(self._checked) < len(self._shards):
            unchecked = sorted(set(np.unique(numbers).tolist()) - self._checked)
            self._checksums.check_all(self._shards[number][0] for number in unchecked)
            self._checked.update(unchecked)

    def array(self, number: int, output: str) -> np.ndarray:
        """One output of shard `number` (rows of the shard, …), read from disk only where it is accessed."""
        self.check(np.array([number]))
        _, arrays = self._shards[number]
        array = arrays[output]
        if 0 in array.shape:
            return np.empty(array.shape, array.dtype)
        return np.ndarray(array.shape, array.dtype, buffer=self._map(number), offset=array.offset_bytes)

    def release(self) -> None:
        """Close the maps that no array uses: the pages that were read no longer count as this process's memory."""
        self._open = {}

    def copy(self, number: int, output: str, first: int, *, into: np.ndarray) -> None:
        """Copy rows of shard `number`, from row `first` on, `into` an array (rows, …), without a map.

        A fresh map costs a page fault every few pages: reading 20 MB once took 4 ms through one and 1.2 so.
        """
        self.check(np.array([number]))
        path, arrays = self._shards[number]
        array = arrays[output]
        if array.dtype != into.dtype.str or into.size == 0:
            into[:] = self.array(number, output)[first : first + len(into)]
            return
        target = into.reshape(-1).view(np.uint8).data
        position = array.offset_bytes + int(first) * into[0].nbytes
        try:
            with path.open("rb", buffering=0) as file:
                file.seek(position)
                while target and (count := file.readinto(target)):
                    target = target[count:]
        except OSError as reason:
            raise unreadable(path, reason) from reason
        if target:
            raise changed_shard(path, f"is {len(target):,} bytes short")

    def _map(self, number: int) -> mmap.mmap:
        opened = self._open.get(number)
        if opened is None:
            if len(self._open) >= MAX_OPEN:
                self._open = {}  # arrays in use keep their own map alive
            opened = self._open[number] = open_map(self._shards[number][0])
        return opened


def open_map(path: Path) -> mmap.mmap:
    """A map of a whole file, for reading."""
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError as reason:  # it is empty
        raise changed_shard(path, reason) from reason
    except (OSError, MemoryError) as reason:
        raise unreadable(path, reason) from reason


def changed_shard(path: Path, reason: object) -> IceboxError:
    """The error for a shard that changed under an open store."""
    return IceboxError(f"{path}: was here when the store was opened, and now {reason}; open the store anew")
