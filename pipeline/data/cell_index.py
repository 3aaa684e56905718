"""The nearest of many points, looked for in a few cells: an inverted file (Sivic and Zisserman 2003).

k-means on a sample makes 2·√n cells, every point lies in the one with the nearest centre, and a query is compared
with the points of the few cells nearest to it. Both are products of matrices, a cell at a time: for as many queries as
there are here, ten times as quick as a graph of neighbours is to build alone (docs/scale.md), and the same each time.

Letters: n points, m queries, b of a block, c dimensions, k neighbours, p cells that a query is compared with.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Self

import numpy as np

FITTED_PER_CELL = 24  # points that the centres are fitted on
ROUNDS = 4  # of k-means: more move no centre by much
PROBES = 32  # cells that a query is compared with
BLOCK_ROWS = 4096  # points compared with all centres at once
BLOCK_QUERIES = 32_768
THREADS = 4  # at most: each block is one thread's, so that the results hang on no thread
HITS_MAX = 4_000_000  # in memory at once: 64 MB


@dataclass(frozen=True)
class CellIndex:
    """Points (n, c), of float16 or float32, whose similarity is their inner product; `centres` (cells, c) of length 1;
    `cell_of` each point (n,), `members` (n,), positions by cell, and `starts` (cells + 1,) of each cell in these."""

    points: np.ndarray
    centres: np.ndarray
    cell_of: np.ndarray
    members: np.ndarray
    starts: np.ndarray

    @classmethod
    def build(cls, points: np.ndarray, *, seed: int = 0) -> Self:
        """The index of these points, which it keeps and does not copy."""
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning

        n = len(points)
        cells = max(1, round(2 * n**0.5))
        sample = np.sort(np.random.default_rng(seed).permutation(n)[: FITTED_PER_CELL * cells])
        means = KMeans(cells, init="random", n_init=1, max_iter=ROUNDS, random_state=seed)
        with warnings.catch_warnings():  # points that are all the same have one cell
            warnings.simplefilter("ignore", ConvergenceWarning)
            centres = means.fit(points[sample].astype(np.float32)).cluster_centers_
        centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
        cell_of = np.empty(n, np.int32)

        def assign(rows: slice) -> None:
            cell_of[rows] = (points[rows].astype(np.float32) @ centres.T).argmax(axis=1)

        in_threads(assign, n, BLOCK_ROWS)
        counts = np.bincount(cell_of, minlength=cells)
        return cls(points, centres, cell_of, np.argsort(cell_of, kind="stable"), np.append(0, np.cumsum(counts)))

    def nearest(
        self, queries: np.ndarray, k: int, *, itself: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Positions (m, k) of the points most similar to queries (m, c), best first, and their similarities.

        `itself` (m,) is the position of each query among the points, which is left out. Where a query's cells hold
        fewer than k points, the position is -1 and the similarity -inf.
        """
        positions = np.empty((len(queries), k), np.int64)
        similarities = np.empty((len(queries), k), np.float32)

        def search(rows: slice) -> None:
            own = None if itself is None else itself[rows]
            positions[rows], similarities[rows] = self._nearest(queries[rows], k, own)

        in_threads(search, len(queries), BLOCK_QUERIES)
        return positions, similarities

    def _nearest(self, queries: np.ndarray, k: int, itself: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        probed = self._probed(queries)  # (b, p)
        best = Best(len(queries), k)
        for columns in (probed[:, :1], probed[:, 1:]):  # the nearest cell first: it says what the others must surpass
            order = np.argsort(columns, axis=None, kind="stable")
            cells, firsts = np.unique(columns.ravel()[order], return_index=True)
            for cell, asking in zip(cells.tolist(), np.split(order // columns.shape[1], firsts[1:]), strict=True):
                members = self.members[self.starts[cell] : self.starts[cell + 1]]
                points = self.points[members].astype(np.float32)
                for part in parts(asking, len(members)):
                    similarities = queries[part].astype(np.float32) @ points.T
                    if itself is not None:
                        inside = np.flatnonzero(self.cell_of[itself[part]] == cell)
                        similarities[inside, np.searchsorted(members, itself[part[inside]])] = -np.inf
                    best.offer(part, members, similarities)
            best.settle()
        return best.positions, best.similarities

    def _probed(self, queries: np.ndarray) -> np.ndarray:
        """The cells (b, p) of each query, the nearest one first."""
        p = min(PROBES, len(self.centres))
        probed = np.empty((len(queries), p), np.int32)
        for start in range(0, len(queries), BLOCK_ROWS):
            similarities = queries[start : start + BLOCK_ROWS].astype(np.float32) @ self.centres.T
            nearest = np.argpartition(similarities, -p, axis=1)[:, -p:]
            order = np.argsort(-np.take_along_axis(similarities, nearest, axis=1), axis=1, kind="stable")
            probed[start : start + BLOCK_ROWS] = np.take_along_axis(nearest, order, axis=1)
        return probed


def in_threads(work: Callable[[slice], None], n: int, size: int) -> None:
    """Do the work on each block of n rows, some at once."""
    blocks = [slice(start, start + size) for start in range(0, n, size)]
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        list(pool.map(work, blocks))


def parts(asking: np.ndarray, members: int) -> Iterator[np.ndarray]:
    """Queries in parts whose similarities with so many points are HITS_MAX at the most."""
    size = max(1, HITS_MAX // max(1, members))
    return (asking[start : start + size] for start in range(0, len(asking), size))


@dataclass
class Best:
    """The k best of what each of b queries was offered: `positions` and `similarities` (b, k), best first."""

    queries: int
    k: int
    positions: np.ndarray = field(init=False)
    similarities: np.ndarray = field(init=False)
    _hits: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=list)
    _count: int = 0

    def __post_init__(self) -> None:
        self.positions = np.full((self.queries, self.k), -1, np.int64)
        self.similarities = np.full((self.queries, self.k), -np.inf, np.float32)

    def offer(self, asking: np.ndarray, members: np.ndarray, similarities: np.ndarray) -> None:
        """Take similarities (queries asking, members) that surpass a query's k-th."""
        least = np.maximum(self.similarities[asking, -1], np.finfo(np.float32).min)
        if len(members) > self.k and least.min() < -1:  # nothing is known yet: of one cell no more than k can stay
            least = np.maximum(least, np.partition(similarities, -self.k, axis=1)[:, -self.k])
        rows, columns = np.nonzero(similarities >= least[:, None])
        self._hits.append((asking[rows], members[columns], similarities[rows, columns]))
        self._count += len(rows)
        if self._count > HITS_MAX:
            self.settle()

    def settle(self) -> None:
        """Keep the best of what was taken."""
        rows = np.concatenate([np.repeat(np.arange(self.queries), self.k), *(hit[0] for hit in self._hits)])
        positions = np.concatenate([self.positions.ravel(), *(hit[1] for hit in self._hits)])
        similarities = np.concatenate([self.similarities.ravel(), *(hit[2] for hit in self._hits)])
        order = np.lexsort((positions, -similarities, rows))
        firsts = np.searchsorted(rows[order], np.arange(self.queries))
        kept = order[firsts[:, None] + np.arange(self.k)]
        self.positions, self.similarities = positions[kept], similarities[kept]
        self._hits, self._count = [], 0
