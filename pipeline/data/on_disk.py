"""Features that stay on disk: a head's input from a store larger than memory, read a block of rows at a time.

Letters: n items, b rows of a block, d features.
"""

import mmap
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.data.feature_selection import FeatureSelection

BLOCK_ROWS = 8192
MEMORY_SHARE = 0.5  # of the machine's memory: features that need more of it, as float32, stay on disk
STREAMED_BYTES = 1 << 30  # features that need more, as float32, stay on disk for a head that reads them from there
KEPT_BYTES = 1 << 30  # of float16 features, by a head that passes over them many times
RELEASE_BYTES = 64 << 20  # read through memory maps before their pages are released

Transform = Callable[[np.ndarray], np.ndarray]


@dataclass
class DiskFeatures:
    """Features (n, d) float32 of the items at these positions of a store's manifest, in the selection's first view.

    Behaves like an array: `len`, `shape`, `dtype`, and rows by slice or positions, which are read when indexed.
    A head that does not know this class gets all of it in memory, by NumPy's `asarray`.
    """

    store: FeatureStore
    items: np.ndarray
    selection: FeatureSelection
    transforms: tuple[Transform, ...] = ()
    _read_bytes: int = 0
    _stored: np.ndarray | None = None

    dtype = np.dtype(np.float32)
    ndim = 2

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """(n, d), after the transforms."""
        return len(self.items), self[:1].shape[1]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Those rows (b, d)."""
        block = self._read(rows) if self._stored is None else self._stored[rows].astype(np.float32)
        for transform in self.transforms:
            block = transform(block)
        return block.astype(self.dtype, copy=False)

    def _read(self, rows: slice | np.ndarray) -> np.ndarray:
        """Those rows (b, d) float32, before the transforms."""
        items = self.items[rows]
        block = self.selection.load(self.store, items, every_view=False)
        if len(items):  # pages are touched whole, and those between two items' too where they lie near each other
            reach = int(items.max() - items.min() + 1) * block.nbytes // len(items)
            self._read_bytes += min(reach, max(block.nbytes, len(items) * mmap.PAGESIZE))
        if self._read_bytes > RELEASE_BYTES:
            self.store.release()
            self._read_bytes = 0
        return block

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = np.empty(self.shape, dtype or self.dtype)
        for rows in self.blocks():
            array[rows] = self[rows]
        return array

    def blocks(self) -> Iterator[slice]:
        """Slices that cover all rows."""
        return (slice(i, min(i + BLOCK_ROWS, len(self))) for i in range(0, len(self), BLOCK_ROWS))

    def take(self, rows: np.ndarray) -> "DiskFeatures":
        """The rows at these positions, still on disk."""
        return replace(self, items=self.items[rows], _stored=None)

    def kept(self) -> "DiskFeatures":
        """These rows for many passes: in memory as they are stored, where that is float16 and KEPT_BYTES suffice: in
        half of what an array of float32 would take, and not read again. Else still on disk."""
        first = self._read(slice(0, 1))
        halves = all(self.store.dtype(output) == np.float16 for output in self.selection.outputs)
        if not halves or len(self) * first.shape[1] * 2 > KEPT_BYTES or (first != first.astype(np.float16)).any():
            return self
        stored = np.empty((len(self), first.shape[1]), np.float16)
        for rows in self.blocks():
            block = self._read(rows)
            stored[rows] = block
            if (stored[rows] != block).any():  # pairs' and joined features are computed
                return self
        self.store.release()
        return replace(self, _stored=stored)

    def with_transform(self, transform: Transform) -> "DiskFeatures":
        """These rows with each block transformed as it is read."""
        return replace(self, transforms=(*self.transforms, transform))


def apply_transform(X: Any, transform: Transform) -> Any:
    """Transform features (n, d): an array now, rows on disk as they are read."""
    return X.with_transform(transform) if isinstance(X, DiskFeatures) else transform(X)


def validate_fit_data(
    estimator: Any, X: Any, y: Any = "no_validation", *, dtype: Any = (np.float32, np.float64)
) -> Any:
    """scikit-learn's `validate_data` in `fit`: (X, y), or X alone without `y`. Rows on disk stay there.

    Those were checked for infinities when they were stored.
    """
    if not isinstance(X, DiskFeatures):
        several = {"multi_output": True} if is_sets(y) else {}  # what y is, scikit-learn asks nowhere else
        return validate_data(estimator, X, y, dtype=dtype, **several)
    estimator.n_features_in_ = X.shape[1]
    return X if isinstance(y, str) else (X, np.asarray(y))


def is_sets(y: Any) -> bool:
    """Whether labels are sets (n, k), of two labels or more."""
    return isinstance(y, np.ndarray) and y.ndim == 2 and y.shape[1] > 1


def size_bytes(store: FeatureStore, items: int, selection: FeatureSelection) -> int:
    """The memory that the features of so many items need as float32."""
    width = selection.load(store, np.arange(1), every_view=False).shape[1]
    return int(items * len(selection.views) * width * 4)


def exceeds_memory(store: FeatureStore, items: int, selection: FeatureSelection, *, streams: bool = False) -> bool:
    """Whether the features of so many items, as float32, would need more than MEMORY_SHARE of the machine's memory; or,
    for a head that reads them from disk, more than STREAMED_BYTES."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    most = MEMORY_SHARE * memory_bytes
    return size_bytes(store, items, selection) > (min(most, STREAMED_BYTES) if streams else most)
