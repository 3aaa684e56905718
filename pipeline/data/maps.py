"""Feature maps of a store, read in pieces: outputs of several sizes are upsampled to the finest and laid side by side.

A map's cells (i, j) cover the part of the picture that a view shows evenly: the centre of a cell is at
((j + 0.5) / w, (i + 0.5) / h) of it.

Letters: n items, b of them in a piece, h height, w width in cells, d features.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np

from icebox.features.errors import IceboxError
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.data.feature_selection import ColumnRanges
from icebox.pipeline.data.on_disk import RELEASE_BYTES

PIECE_BYTES = 32 << 20  # of a piece as float32, unless one map is larger


@dataclass
class StoredMaps:
    """The maps of these outputs of a store, (h, w, d) for each item and view."""

    store: FeatureStore
    outputs: tuple[str, ...]
    _read_bytes: int = field(default=0, repr=False)

    @cached_property
    def size(self) -> tuple[int, int]:
        """Height and width in cells: the largest of all outputs."""
        shapes = [self.store.row_shape(output) for output in self.outputs]
        return max(shape[0] for shape in shapes), max(shape[1] for shape in shapes)

    @cached_property
    def depths(self) -> list[int]:
        """The number of features of each output."""
        return [self.store.row_shape(output)[2] for output in self.outputs]

    @property
    def depth(self) -> int:
        """d: the number of features of a cell."""
        return sum(self.depths)

    @property
    def column_ranges(self) -> ColumnRanges:
        """The columns of each output in a cell's features."""
        ends = np.cumsum([0, *self.depths]).tolist()
        return {output: [(ends[i], ends[i + 1])] for i, output in enumerate(self.outputs)}

    @property
    def piece(self) -> int:
        """The number of items whose maps are read at once."""
        return max(1, PIECE_BYTES // (4 * math.prod(self.size) * self.depth))

    def read(self, items: np.ndarray, view: str) -> np.ndarray:
        """The maps (b, h, w, d) float32 of the items at these positions of the manifest."""
        maps = np.empty((len(items), *self.size, self.depth), np.float32)
        start = 0
        for output, depth in zip(self.outputs, self.depths, strict=True):
            rows = self.store.rows(items, output, view=view)
            maps[..., start : start + depth] = resize(rows, self.size)
            start += depth
            self._read_bytes += rows.nbytes
        if self._read_bytes > RELEASE_BYTES:  # pages that were read count as memory until their maps are closed
            self.store.release()
            self._read_bytes = 0
        return maps

    def pieces(self, items: np.ndarray, view: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Positions (b,) and maps (b, h, w, d) of all these items, in their order, a piece at a time."""
        for start in range(0, len(items), self.piece):
            piece = items[start : start + self.piece]
            yield piece, self.read(piece, view)


def select(store: FeatureStore, outputs: Sequence[str] | None = None) -> StoredMaps:
    """These outputs, by default all maps of the store. Raises IceboxError where there are none, or one is no map."""
    is_map = {output: not store.is_ragged(output) and len(store.row_shape(output)) == 3 for output in store.outputs}
    maps = [output for output in store.outputs if is_map[output]]
    for output in outputs or ():
        if not is_map.get(output, True):
            raise IceboxError(
                f"{store.folder}: output '{output}' is one vector of a whole picture, where each of its pixels needs "
                f"one; maps here: {', '.join(maps) or 'none'}; store LAYER:map"
            )
    if not maps:
        raise IceboxError(
            f"{store.folder}: expected an output that is a map of the picture, found {', '.join(store.outputs)}; "
            f"store LAYER:map, such as {store.outputs[0].partition(':')[0]}:map"
        )
    return StoredMaps(store, tuple(outputs or maps))


def resize(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Maps (b, h, w, d) at another size (b, *size, d) float32, bilinear as torch's `interpolate(align_corners=False)`
    is."""
    maps = maps.astype(np.float32, copy=False)
    b, h, w, d = maps.shape
    if w != size[1]:  # first, of fewer rows: products so small cost more than their numbers
        maps = interpolation(w, size[1]) @ maps
    if h != size[0]:
        maps = (interpolation(h, size[0]) @ maps.reshape(b, h, -1)).reshape(b, size[0], size[1], d)
    return maps


@lru_cache(maxsize=64)
def interpolation(n: int, to: int) -> np.ndarray:
    """The matrix (to, n) float32 that interpolates n values linearly at the centres of `to` cells of the same extent;
    beyond the outer centres values stay as they are."""
    at = np.clip((np.arange(to) + 0.5) * n / to - 0.5, 0, n - 1)
    low = np.minimum(at.astype(np.int64), max(n - 2, 0))
    matrix = np.zeros((to, n), np.float32)
    rows = np.arange(to)
    matrix[rows, low] = 1 - (at - low)
    matrix[rows, np.minimum(low + 1, n - 1)] += at - low
    return matrix


def cell_centers(extent: int, cells: int) -> np.ndarray:
    """The pixel (cells,) in which the centre of each cell lies, where so many cells cover `extent` pixels."""
    centers: np.ndarray = ((np.arange(cells) + 0.5) * extent / cells).astype(np.int64)
    return centers
