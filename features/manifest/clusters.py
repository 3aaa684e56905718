"""Clusters of a manifest's rows, kept as positions: a row is made when it is shown."""

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np

from icebox.features.manifest.manifest import Manifest, ManifestRow


class Clusters(Sequence[Sequence[ManifestRow]]):
    """Clusters of rows: `positions` of all of them, cluster by cluster, which begin at `starts` (c,)."""

    def __init__(self, manifest: Manifest, positions: np.ndarray, starts: np.ndarray) -> None:
        self.manifest, self.positions, self.starts = manifest, positions, starts

    @classmethod
    def of_lists(cls, manifest: Manifest, lists: Iterable[Sequence[int] | np.ndarray]) -> "Clusters":
        """Clusters of the rows at these positions."""
        parts = [np.asarray(part, np.int64) for part in lists]
        sizes = np.array([len(part) for part in parts], np.int64)
        return cls(manifest, np.concatenate([np.empty(0, np.int64), *parts]), np.cumsum(sizes) - sizes)

    @classmethod
    def sharing(cls, manifest: Manifest, codes: np.ndarray, rows: np.ndarray | None = None) -> "Clusters":
        """Those of `rows` (all of them by default) that share a code with another, in the order of their first row.

        `codes` (m,) are those of `rows`.
        """
        order = np.argsort(codes, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(codes[order]) != 0]) if len(codes) else np.empty(0, np.int64)
        clusters = cls(manifest, order if rows is None else rows[order], starts)
        several = np.flatnonzero(clusters.sizes > 1)
        return clusters.chosen(several[np.argsort(clusters.positions[starts[several]])])

    @property
    def sizes(self) -> np.ndarray:
        """The number of rows in each cluster (c,)."""
        return np.diff(self.starts, append=len(self.positions))

    @property
    def numbers(self) -> np.ndarray:
        """The cluster of each of `positions`."""
        return np.repeat(np.arange(len(self)), self.sizes)

    def highest(self, values: np.ndarray) -> np.ndarray:
        """The largest of the rows' values in each cluster (c,); `values` are those of all rows of the manifest."""
        return np.maximum.reduceat(values[self.positions], self.starts) if len(self) else np.empty(0, values.dtype)

    def lowest(self, values: np.ndarray) -> np.ndarray:
        """The smallest of the rows' values in each cluster (c,); `values` are those of all rows of the manifest."""
        return np.minimum.reduceat(values[self.positions], self.starts) if len(self) else np.empty(0, values.dtype)

    def differ(self, values: np.ndarray) -> np.ndarray:
        """Whether the rows of each cluster (c,) have different values."""
        different: np.ndarray = self.highest(values) != self.lowest(values)
        return different

    def where(self, mask: np.ndarray) -> "Clusters":
        """Those clusters for which `mask` (c,) is true."""
        return self.chosen(np.flatnonzero(mask))

    def chosen(self, numbers: np.ndarray) -> "Clusters":
        """The clusters of these numbers, in their order."""
        sizes = self.sizes[numbers]
        starts = np.cumsum(sizes) - sizes
        within = np.arange(sizes.sum()) - np.repeat(starts, sizes)
        return Clusters(self.manifest, self.positions[np.repeat(self.starts[numbers], sizes) + within], starts)

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, number: int) -> Manifest: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Manifest]: ...
    def __getitem__(self, number: int | slice) -> Manifest | Sequence[Manifest]:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        start = self.starts[number]
        return self.manifest.take(self.positions[start : start + self.sizes[number]])

    def __iter__(self) -> Iterator[Manifest]:
        return (self[i] for i in range(len(self)))
