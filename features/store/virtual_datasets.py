"""Virtual HDF5 datasets: the rows of many shards as one array, joined from runs of adjacent rows."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import h5py
import numpy as np

from icebox.features.ragged import OFFSETS, offsets_of
from icebox.features.store.shards import ArrayLocation, Shard


def outputs_of(arrays: Mapping[str, ArrayLocation]) -> list[str]:
    """The outputs among a shard's arrays."""
    return [name for name in arrays if not name.startswith(OFFSETS)]


def spans(
    output: str, shards: Sequence[Shard], shard_of: np.ndarray, row_of: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Each item's first and last + 1 position (n,) in its shard's array: of one row, or of one row a token."""
    starts = row_of.astype(np.int64)
    stops = starts + 1
    for number, shard in enumerate(shards):
        if OFFSETS + output in shard.arrays:
            in_shard = shard_of == number
            offsets = shard.arrays[OFFSETS + output].map(shard.path)
            starts[in_shard], stops[in_shard] = offsets[row_of[in_shard]], offsets[row_of[in_shard] + 1]
    return starts, stops


def virtual_layout(
    output: str, shards: Sequence[Shard], shard_of: np.ndarray, starts: np.ndarray, stops: np.ndarray
) -> h5py.VirtualLayout:
    """The layout of one array over all shards, of a dtype that holds each one's. Adjacent rows are mapped together."""
    row_shape = shards[0].arrays[output].shape[1:]
    ends = offsets_of(stops - starts)
    layout = h5py.VirtualLayout(
        shape=(int(ends[-1]), *row_shape), dtype=common_dtype(shard.arrays[output].dtype for shard in shards)
    )
    layout.dcpl.set_obj_track_times(False)  # h5py turns the clock off for all datasets but virtual ones
    # what `layout[…] = source[…]` does, in a ninth of the time: a store that grew in between has many runs
    dataset, corner = f"features/{output}".encode(), (0,) * len(row_shape)
    target = h5py.h5s.create_simple(layout.shape)
    for first, last in runs(shard_of, starts, stops):
        shard = shards[shard_of[first]]
        if ends[first] < ends[last]:
            source = h5py.h5s.create_simple(shard.arrays[output].shape)
            source.select_hyperslab((int(starts[first]), *corner), (int(stops[last - 1] - starts[first]), *row_shape))
            target.select_hyperslab((int(ends[first]), *corner), (int(ends[last] - ends[first]), *row_shape))
            # a relative name is looked up beside the index, wherever the store is moved to
            layout.dcpl.set_virtual(target, shard.path.name.encode(), dataset, source)
    return layout


def common_dtype(dtypes: Iterable[str]) -> np.dtype[Any]:
    """The dtype that holds an output of every shard: a float32 shard among float16 ones makes it float32."""
    return np.result_type(*set(dtypes))


def runs(shard_of: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> list[tuple[int, int]]:
    """The longest runs [first, last) of items whose rows are adjacent in one shard, in the items' order."""
    breaks = np.flatnonzero((np.diff(shard_of.astype(np.int64)) != 0) | (starts[1:] != stops[:-1])) + 1
    return list(pairwise([0, *breaks.tolist(), len(starts)]))
