"""Rows that lie in many shards as one array: which runs of them there are, and a virtual dataset over those."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import h5py
import numpy as np

from icebox.features.ragged import OFFSETS, offsets_of
from icebox.features.store.shards import Array, Shard


def outputs_of(arrays: Mapping[str, Array]) -> list[str]:
    """The outputs among a shard's arrays."""
    return [name for name in arrays if not name.startswith(OFFSETS)]


def spans(
    output: str, shards: Sequence[Shard], shard_of: np.ndarray, row_of: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """From where to where, in its shard's array, each item's rows lie: one row, or one a token."""
    starts = row_of.astype(np.int64)
    stops = starts + 1
    for number, part in enumerate(shards):
        if OFFSETS + output in part.arrays:
            here = shard_of == number
            offsets = part.arrays[OFFSETS + output].map(part.path)
            starts[here], stops[here] = offsets[row_of[here]], offsets[row_of[here] + 1]
    return starts, stops


def virtual_layout(
    output: str, shards: Sequence[Shard], shard_of: np.ndarray, starts: np.ndarray, stops: np.ndarray
) -> h5py.VirtualLayout:
    """One array over all shards, of a type that holds each one's. Rows that follow each other are mapped together."""
    row_shape = shards[0].arrays[output].shape[1:]
    ends = offsets_of(stops - starts)
    layout = h5py.VirtualLayout(
        shape=(int(ends[-1]), *row_shape), dtype=common_dtype(part.arrays[output].dtype for part in shards)
    )
    layout.dcpl.set_obj_track_times(False)  # h5py turns the clock off for all datasets but virtual ones
    for first, last in runs(shard_of, starts, stops):
        part = shards[shard_of[first]]
        array = part.arrays[output]
        if ends[first] < ends[last]:
            # a relative name is looked up beside the index, wherever the store is moved to
            source = h5py.VirtualSource(part.path.name, f"features/{output}", array.shape, array.dtype)
            layout[int(ends[first]) : int(ends[last])] = source[int(starts[first]) : int(stops[last - 1])]
    return layout


def common_dtype(dtypes: Iterable[str]) -> np.dtype[Any]:
    """The type that holds an output's values of every shard: one of float32 among float16 makes it float32."""
    return np.result_type(*set(dtypes))


def runs(shard_of: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> list[tuple[int, int]]:
    """The longest stretches [first, last) of items whose rows follow each other in one shard."""
    breaks = np.flatnonzero((np.diff(shard_of.astype(np.int64)) != 0) | (starts[1:] != stops[:-1])) + 1
    return list(pairwise([0, *breaks.tolist(), len(starts)]))
