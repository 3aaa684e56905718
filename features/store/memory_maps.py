"""Read the arrays of a store's shards: copied where rows are adjacent, else through memory maps.

A map is opened at first use, in each process for itself.
"""

import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from icebox.features.errors import IceboxError
from icebox.features.store.shards import ArrayLocation

MAX_OPEN = 256  # Python keeps a file descriptor for each map, and 1,024 are allowed by default


class ShardMaps:
    """Maps of a store's shards. May be pickled, sent to other processes and used in threads."""

    def __init__(self, shards: Sequence[tuple[Path, dict[str, ArrayLocation]]]) -> None:
        self._shards = shards
        self._open: dict[int, mmap.mmap] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_shards": self._shards, "_open": {}}

    def array(self, number: int, output: str) -> np.ndarray:
        """One output of shard `number` (rows of the shard, …), read from disk only where it is accessed."""
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
            raise changed_shard(path, reason) from reason
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
    except (OSError, ValueError) as reason:
        raise changed_shard(path, reason) from reason


def changed_shard(path: Path, reason: object) -> IceboxError:
    """The error for a shard that changed under an open store."""
    return IceboxError(f"{path}: was here when the store was opened, and now {reason}; open the store anew")
