"""Near-duplicates by features: items much nearer to each other than to all others, such as a picture saved twice.

Features are whitened (principal components of equal variance) and compared by cosine. What counts as near is found from
the data: of items that lie evenly about in D dimensions, the ratio of the distances to the (k+1)-th and k-th neighbour
has the k·D-th power of a uniform number as its inverse (Facco et al. 2017), so that a gap behind the nearest neighbour
has a p-value; D is that of the set itself. The threshold is Benjamini and Hochberg's. Two texts on one rare topic would
be found so, too: whitening makes much of what is rare. So a pair must also be nearer, by features as they are, than
FAR times what is usual for third neighbours.

Past COMPARISONS_MAX neighbours are looked for by an index of cells, which overlooks some, but hardly a copy: what lies
so near lies in the same cell or in the next one.

Letters: n items, m items whose neighbours are looked up, d features, c components.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from icebox.features import files, fingerprint
from icebox.features.joining.joined_store import JoinedStore
from icebox.features.splits import side
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.data.cell_index import CellIndex
from icebox.pipeline.data.feature_selection import FeatureSelection

VERSION = 2  # of all below: raised where other pairs are found, so that none are kept from before
COMPONENTS_MAX = 192  # of 1,250 photos and 120 copies 0.975 are found so at a precision of 0.9; with 128 0.96
ITEMS_PER_COMPONENT = 4
FITTED_MAX = 20_000  # items that the components are fitted on
USUAL_MAX = 2000  # items whose gaps say how many dimensions there are
NEIGHBORS = 5  # that are looked up of each item: copies up to four beside it have a gap behind them
GAP_WEIGHTS = np.array([0.97, 0.01, 0.01, 0.01])  # of a gap behind 1, 2, 3, 4 neighbours, as they are expected
FAR = 0.69  # set on one half of the pairs of three sets of texts, and checked on the other: docs/splits.md
BEHIND = 3  # the neighbour whose distance is usual: copies in a set would be the nearest ones
NEAREST_SAMPLED = 1000  # items whose nearest neighbours by features as they are say what is usual
NEAREST_SAMPLED_OF_MANY = 250  # with an index
CHANCE = 0.001  # share of pairs that may be chance; of what is found beyond copies, most are pictures of one scene
COMPARISONS_MAX = 2_000_000_000  # of two items: some ten seconds; beyond, by an index
LIKELY = 0.1  # with an index, items with a likelier gap are in no pair: partners of all would cost as much again
BLOCK_NUMBERS = 8_000_000  # similarities in memory at once: 32 MB
BLOCK_ROWS = 4096  # items that are read at once
ITEMS_MIN = 20  # with fewer, no distance is known to be usual
SHORTEST = 1e-3  # a distance that float32 tells from none, between vectors of length 1

Read = Callable[[np.ndarray], np.ndarray]  # positions (b,) → features (b, d)
Search = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # queries (m,) → neighbours and gaps


@dataclass(frozen=True)
class NearPair:
    """Two positions in the manifest, the cosine of their features, and the chance that no copies lie so near."""

    first: int
    second: int
    cosine: float
    p: float


@dataclass(frozen=True)
class NearDuplicates:
    """Pairs, the surest first, among n `items`, of which `compared` were each compared with all."""

    pairs: list[NearPair]
    compared: int
    items: int


def of_store(
    store: FeatureStore, read: Read, *, across: bool = False, comparisons: int = COMPARISONS_MAX
) -> NearDuplicates:
    """The near-duplicates of a store. With `across`, or where all pairs are more than `comparisons`, items of test and
    val alone are compared with all, by an index if need be, since across splits is where copies do harm."""
    n = len(store)
    queries = np.arange(n)
    if across or n * n > comparisons:
        queries = np.flatnonzero([side(name) != "train" for name in store.splits.tolist()])
    return find(read, n, queries, by_index=len(queries) * n > comparisons)


def find(read: Read, n: int, queries: np.ndarray, *, by_index: bool = False) -> NearDuplicates:
    """The near-duplicates of the items at positions `queries` (m,) among n items. Items whose features are equal count
    as one, and are pairs."""
    if n < ITEMS_MIN:
        return NearDuplicates([], 0, n)
    with threadpool_limits(1):
        points, originals = components(read, n, dtype=np.float16 if by_index else np.float32)
        copies = np.flatnonzero(originals != np.arange(n))
        asking = np.zeros(n, bool)
        asking[queries] = True
        pairs = {(int(originals[i]), int(i)): 0.0 for i in copies if asking[i] or asking[originals[i]]}
        kept = np.flatnonzero(originals == np.arange(n))
        if len(kept) >= ITEMS_MIN:
            position = np.full(n, -1)
            position[kept] = np.arange(len(kept))
            asked = position[np.unique(originals[queries])]
            points = points if len(kept) == n else points[kept]
            search = partial(neighbors_and_gaps, points)
            if by_index:
                search = partial(neighbors_and_gaps_by_index, CellIndex.build(points))
            near_points = near(search, len(points), asked, likely=LIKELY if by_index else 1.0)
            farther = {(int(kept[i]), int(kept[j])): p for (i, j), p in near_points.items()}
            sampled = NEAREST_SAMPLED_OF_MANY if by_index else NEAREST_SAMPLED
            pairs |= nearer_than_usual(read, farther, kept, sampled=sampled)
        cosines = cosines_of(read, list(pairs))
    found = [NearPair(i, j, cosine, p) for ((i, j), p), cosine in zip(pairs.items(), cosines, strict=True)]
    found.sort(key=lambda pair: (pair.p, -pair.cosine, pair.first, pair.second))
    return NearDuplicates(found, len(queries), n)


def components(read: Read, n: int, *, dtype: type = np.float32) -> tuple[np.ndarray, np.ndarray]:
    """Whitened components (n, c) of length 1, and of each item (n,) the first whose features are equal."""
    from sklearn.decomposition import PCA

    fitted = np.sort(np.random.default_rng(0).permutation(n)[:FITTED_MAX])
    sample = read(fitted).astype(np.float32)
    count = min(COMPONENTS_MAX, sample.shape[1], len(fitted) // ITEMS_PER_COMPONENT)
    if not np.ptp(sample, axis=0).any():
        return np.zeros((n, 1), np.float32), np.zeros(n, np.int64)
    pca = PCA(count, whiten=True, random_state=0).fit(sample)
    varied = pca.explained_variance_ > 1e-6 * pca.explained_variance_[0]  # others hold rounding alone
    points: np.ndarray = np.empty((n, int(varied.sum())), dtype)
    digests = np.empty((n, 2), np.uint64)
    for start in range(0, n, BLOCK_ROWS):
        rows = np.arange(start, min(n, start + BLOCK_ROWS))
        block = read(rows)
        digests[rows] = [np.frombuffer(bytes.fromhex(fingerprint.of_content(row)[:32]), np.uint64) for row in block]
        projected = pca.transform(block.astype(np.float32))[:, varied]
        points[rows] = projected / np.maximum(np.linalg.norm(projected, axis=1, keepdims=True), 1e-12)
    firsts, of_row = np.unique(digests.view("u8,u8").ravel(), return_index=True, return_inverse=True)[1:]
    return points, firsts[of_row]


def near(search: Search, n: int, queries: np.ndarray, *, likely: float = 1.0) -> dict[tuple[int, int], float]:
    """The p-values of pairs (i, j), i < j, that are near, of n points that all differ. Both items of a pair must
    have a gap behind the other, and it is their evidence together that counts (Fisher's method). Queries with a gap of
    a p-value above `likely` are passed over."""
    usual = np.random.default_rng(0).permutation(n)[:USUAL_MAX]  # not of queries, which may all be copies
    middle = float(np.median(search(usual)[1][:, 0]))
    if middle <= 0:
        return {}
    dimensions = np.log(2) / middle
    evidence = of_items(queries, *search(queries), dimensions, likely=likely)
    asking = list(evidence)
    partners = np.array(sorted({j for members, _ in evidence.values() for j in members} - evidence.keys()), np.int64)
    if len(partners):
        evidence |= of_items(partners, *search(partners), dimensions)
    pairs = {}
    for i in asking:
        members, log_p = evidence[i]
        for j in members:
            if i in evidence[j][0]:
                both = -log_p - evidence[j][1]
                pairs[min(i, j), max(i, j)] = float(np.exp(-both) * (1 + both))
    ordered = np.sort(list(pairs.values()))
    below = np.flatnonzero(ordered <= CHANCE * np.arange(1, len(ordered) + 1) / len(queries))
    threshold = ordered[below[-1]] if len(below) else -1.0
    return {pair: p for pair, p in pairs.items() if p <= threshold}


def nearer_than_usual(
    read: Read, pairs: dict[tuple[int, int], float], kept: np.ndarray, *, sampled: int = NEAREST_SAMPLED
) -> dict[tuple[int, int], float]:
    """The pairs whose features, as they are and of length 1, lie less than FAR times as far apart as those of an item
    of `kept` (n,) and its third neighbour do in the median of so many `sampled`."""
    if not pairs:
        return pairs
    positions = np.sort(np.random.default_rng(0).permutation(kept)[:sampled])
    sample, best = of_length_1(read(positions)), np.full((len(positions), BEHIND), -1.0, np.float32)
    for start in range(0, len(kept), BLOCK_ROWS):
        block = kept[start : start + BLOCK_ROWS]
        similarities = sample @ of_length_1(read(block)).T
        similarities[positions[:, None] == block] = -1
        best = np.partition(np.concatenate([best, similarities], axis=1), -BEHIND, axis=1)[:, -BEHIND:]
    usual = float(np.median(np.sqrt(np.maximum(2 - 2 * best.min(axis=1), 0))))
    distances = np.sqrt(np.maximum(2 - 2 * np.array(cosines_of(read, list(pairs))), 0))
    return {pair: p for (pair, p), distance in zip(pairs.items(), distances, strict=True) if distance < FAR * usual}


def of_length_1(features: np.ndarray) -> np.ndarray:
    """Features (b, d) float32 with length 1."""
    vectors: np.ndarray = features.astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return vectors


def of_items(
    queries: np.ndarray, neighbors: np.ndarray, gaps: np.ndarray, dimensions: float, *, likely: float = 1.0
) -> dict[int, tuple[frozenset[int], float]]:
    """By item of `queries` (m,): its neighbours before the least likely gap, and that gap's log p, if p is `likely` at
    the most.

    neighbors: (m, NEIGHBORS); gaps: (m, NEIGHBORS - 1), logs of ratios.
    """
    log_p = -gaps * dimensions * np.arange(1, NEIGHBORS) - np.log(GAP_WEIGHTS)
    behind = log_p.argmin(axis=1)
    least = np.minimum(np.take_along_axis(log_p, behind[:, None], axis=1)[:, 0], 0)
    told = least <= np.log(likely)
    return {
        int(i): (frozenset(members[: k + 1].tolist()), float(p))
        for i, members, k, p in zip(queries[told], neighbors[told], behind[told], least[told], strict=True)
    }


def neighbors_and_gaps(points: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the points at `queries` (m,) the nearest others (m, NEIGHBORS), and the logs of the ratios of each distance to
    the one before (m, NEIGHBORS - 1)."""
    neighbors = np.empty((len(queries), NEIGHBORS), np.int64)
    distances = np.empty((len(queries), NEIGHBORS), np.float64)
    rows = max(1, BLOCK_NUMBERS // len(points))
    for start in range(0, len(queries), rows):
        block = queries[start : start + rows]
        similarities = points[block] @ points.T  # (b, n)
        similarities[np.arange(len(block)), block] = -np.inf
        best = np.argpartition(-similarities, NEIGHBORS - 1, axis=1)[:, :NEIGHBORS]
        values = np.take_along_axis(similarities, best, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        neighbors[start : start + rows] = np.take_along_axis(best, order, axis=1)
        distances[start : start + rows] = distances_of(np.take_along_axis(values, order, axis=1))
    return neighbors, np.log(distances[:, 1:] / distances[:, :-1])


def neighbors_and_gaps_by_index(index: CellIndex, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`neighbors_and_gaps` of an index's points; behind the last point of its cells a query has no gap."""
    neighbors, similarities = index.nearest(index.points[queries], NEIGHBORS, itself=queries)
    distances = distances_of(np.maximum(similarities, -1))
    return neighbors, np.where(neighbors[:, 1:] < 0, 0, np.log(distances[:, 1:] / distances[:, :-1]))


def distances_of(cosines: np.ndarray) -> np.ndarray:
    """Distances float64 of vectors of length 1 with these cosines."""
    return np.maximum(np.sqrt(np.maximum(2 - 2 * cosines.astype(np.float64), 0)), SHORTEST)


def cosines_of(read: Read, pairs: Sequence[tuple[int, int]]) -> list[float]:
    """The cosine of each pair's features, as they are."""
    cosines: list[float] = []
    for start in range(0, len(pairs), BLOCK_ROWS):
        block = np.array(pairs[start : start + BLOCK_ROWS])
        one, other = (read(block[:, i]).astype(np.float64) for i in (0, 1))
        lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
        cosines += ((one * other).sum(axis=1) / np.maximum(lengths, 1e-12)).tolist()
    return cosines


def leaked(store: FeatureStore, selection: FeatureSelection, *, kept: Path | None = None) -> np.ndarray:
    """Positions of items of train and val that have near-duplicates on another side, by the features that heads see,
    as `left_out` says: every item of val and test is compared with all.

    Once for each store and selection: the positions stay in the folder `kept`, for the other heads.
    """
    key = fingerprint.of_settings([VERSION, store.digest, selection.outputs, selection.views[0]])
    path = kept / f"{key}.npy" if kept else None
    if path is not None and path.exists():
        with contextlib.suppress(OSError, ValueError, EOFError):  # one that is damaged is made anew
            return np.load(path, allow_pickle=False)  # type: ignore[no-any-return]
    found = of_store(store, partial(read_selection, store, selection), across=True)
    positions = left_out(store, found.pairs)
    if path is not None:
        with files.replacing(path) as temporary, temporary.open("wb") as stream:
            np.save(stream, positions)
    return positions


def read_selection(store: FeatureStore, selection: FeatureSelection, items: np.ndarray) -> np.ndarray:
    """The features (b, d) that heads see, of a joined store those of each member with length 1."""
    if isinstance(store, JoinedStore):
        return store.load_of_length_1(items, outputs=selection.outputs, view=selection.views[0])
    return selection.load(store, items, every_view=False)


def left_out(store: FeatureStore, pairs: Sequence[NearPair]) -> np.ndarray:
    """Positions of the items that copies elsewhere rule out: of train where val or test has one, of val where test has.
    Copies of copies count too."""
    parent = {i: i for pair in pairs for i in (pair.first, pair.second)}

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for pair in pairs:
        parent[root(pair.first)] = root(pair.second)
    sides = [side(name) for name in store.splits.tolist()]
    kept: dict[int, str] = {}
    for i in parent:
        kept[root(i)] = max(kept.get(root(i), "train"), sides[i], key=("train", "val", "test").index)
    return np.array(sorted(i for i in parent if sides[i] != kept[root(i)]), np.int64)
