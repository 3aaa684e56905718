"""The arrays of a store's shards through memory maps, opened at first touch, in each process for itself."""

import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from features.errors import IceboxError
from features.shard import Array

OPEN = 256  # at most: Python keeps a file descriptor a map, and 1,024 are allowed by default


class ShardMaps:
    """Maps of a store's shards. May be pickled, sent to other processes and used in threads."""

    def __init__(self, shards: Sequence[tuple[Path, dict[str, Array]]]) -> None:
        self._shards = shards
        self._open: dict[int, mmap.mmap] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_shards": self._shards, "_open": {}}

    def array(self, number: int, output: str) -> np.ndarray:
        """One output's rows (rows of the shard, …) of shard `number`, read from disk only where they are touched."""
        _, arrays = self._shards[number]
        array = arrays[output]
        if 0 in array.shape:
            return np.empty(array.shape, array.dtype)
        return np.ndarray(array.shape, array.dtype, buffer=self._map(number), offset=array.offset_bytes)

    def _map(self, number: int) -> mmap.mmap:
        found = self._open.get(number)
        if found is None:
            if len(self._open) >= OPEN:
                self._open = {}  # arrays in use keep their own map alive
            found = self._open[number] = opened(self._shards[number][0])
        return found


def opened(path: Path) -> mmap.mmap:
    """A map of a whole file, for reading."""
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as reason:
        found = f"was here when the store was opened, and now {reason}"
        raise IceboxError(f"{path}: {found}; open the store anew") from reason
