"""Principal components of a map's cells: pictures at a fraction of their features, kept in memory as far as they fit.

A network on maps sees every picture once an epoch. Projected once, in one pass over the store, the maps of a few
hundred pictures fit into memory, and an epoch reads nothing from disk.

Letters: b pictures, h height, w width in cells, d features, c components.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from icebox.pipeline.data.dense import Pictures, PictureView

FITTED_ON = 64  # pictures, evenly over those of train
STEP = 3  # every third row and column of their cells: neighbors are alike
CACHE_BYTES = 384 << 20  # of projected maps of train; those of val may take a third as much
SMALLEST = 1e-3  # of the largest deviation: a feature that varies less is no more than noise of rounding


@dataclass(frozen=True)
class Projection:
    """Standardized cells (…, d) → their principal components (…, c), all of them of mean variance 1."""

    mean: np.ndarray  # (d,)
    matrix: np.ndarray  # (d, c)

    def __call__(self, maps: np.ndarray) -> np.ndarray:
        """Maps (b, h, w, d) → (b, h, w, c) float32."""
        projected: np.ndarray = (maps - self.mean) @ self.matrix
        return projected


def fit(train: Pictures, components: int) -> Projection:
    """The principal components of train's cells, of FITTED_ON pictures in the first view."""
    positions = np.unique(np.linspace(0, len(train) - 1, min(FITTED_ON, len(train))).astype(np.int64))
    maps = train.data.maps
    n, total, products = 0, np.zeros(maps.depth), np.zeros((maps.depth, maps.depth))
    for _, piece in maps.pieces(train.items[positions], train.data.views[0]):
        cells = piece[:, ::STEP, ::STEP].reshape(-1, maps.depth)
        n, total = n + len(cells), total + cells.sum(axis=0, dtype=np.float64)
        products += cells.T @ cells
    mean = total / n
    covariance = products / n - np.outer(mean, mean)
    deviation = np.sqrt(np.maximum(np.diag(covariance), 0))
    largest = float(deviation.max(initial=0)) or 1.0
    deviation = np.where(deviation > SMALLEST * largest, deviation, largest)
    values, vectors = np.linalg.eigh(covariance / np.outer(deviation, deviation))
    kept = min(components, maps.depth)
    values, vectors = values[::-1][:kept], vectors[:, ::-1][:, :kept]
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(kept)])  # the same on every machine
    vectors = vectors * signs
    scale = math.sqrt(max(float(values.mean()), float(np.finfo(np.float32).tiny)))
    return Projection(mean.astype(np.float32), (vectors / deviation[:, None] / scale).astype(np.float32))


@dataclass
class ProjectedPictures:
    """Pictures whose maps are projected when they are first read, and kept as float16 up to `budget_bytes`."""

    pictures: Pictures
    projection: Projection
    budget_bytes: int = CACHE_BYTES
    _kept: dict[PictureView, np.ndarray] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.pictures)

    def batches(self, size: int, random: np.random.Generator | None) -> Iterator[tuple[list[PictureView], np.ndarray]]:
        """Each picture once, in one of the views that heads are fitted on, drawn at random: which (b,), and its maps
        (b, h, w, c). Without `random` in order, in the first view."""
        data, items = self.pictures.data, self.pictures.items
        order = items if random is None else random.permutation(items)
        drawn = np.zeros(len(order), np.int64) if random is None else random.integers(0, len(data.views), len(order))
        named = [(item, data.views[view]) for item, view in zip(order.tolist(), drawn.tolist(), strict=True)]
        for start in range(0, len(named), size):
            batch = named[start : start + size]
            yield batch, np.stack([self.maps(*each) for each in batch])

    def maps(self, item: int, view: str) -> np.ndarray:
        """The projected maps (h, w, c) float32 of a picture."""
        kept = self._kept.get((item, view))
        if kept is None:
            kept = self.projection(self.pictures.data.maps.read(np.array([item]), view))[0].astype(np.float16)
            if kept.nbytes <= self.budget_bytes:
                self.budget_bytes -= kept.nbytes
                self._kept[item, view] = kept
        maps: np.ndarray = kept.astype(np.float32)
        return maps
