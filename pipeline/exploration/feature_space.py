"""The geometry of a store's features: two-dimensional maps of items, and each item's nearest items of train.

Letters: n items, m items of train, d features.
"""

from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.data.cell_index import CellIndex

NEIGHBORS = 3
COMPONENTS_MAX = 64  # the slow parts are 15 times as fast on them as on 4,096 features, and as good
PIECE_BYTES = 1 << 26  # of maps that are averaged at once
BLOCK_ROWS = 2048  # items compared with train at once
BLOCK_BYTES = 1 << 27  # of similarities at once, for a large train
COMPARISONS_MAX = 2_000_000_000  # of two items: some ten seconds; beyond, by an index
TRAIN_MAX = 200_000  # whose features are held in memory
DIRECTIONS_MAX = 64  # by which an index compares
DIRECTIONS_FITTED_MAX = 20_000  # items that these are fitted on
CANDIDATES = 12  # of an index, for each item: the NEIGHBORS nearest are taken by all features
READ_ROWS = 4096

Read = Callable[[np.ndarray], np.ndarray]  # positions (b,) → features (b, d)


def sample(items: np.ndarray, limit: int, *, seed: int) -> np.ndarray:
    """At most `limit` of the items, at random, in their order."""
    if len(items) <= limit:
        return items
    return np.sort(np.random.default_rng(seed).choice(items, limit, replace=False))


def pooled(store: FeatureStore, items: np.ndarray) -> np.ndarray:
    """Features (len(items), d) float32 of pictures: the mean over each map (h, w, d), other outputs as they are."""
    width = {output: int(np.prod(store.row_shape(output)[-1:])) for output in store.outputs}
    result = np.empty((len(items), sum(width.values())), np.float32)
    size = max(1, PIECE_BYTES // sum(4 * int(np.prod(store.row_shape(output))) for output in store.outputs))
    for start in range(0, len(items), size):
        piece, first = items[start : start + size], 0
        for output in store.outputs:
            rows = store.rows(piece, output).astype(np.float32)
            rows = rows.reshape(len(rows), -1, width[output]).mean(axis=1)
            result[start : start + size, first : first + width[output]] = rows
            first += width[output]
        store.release()
    return result


def principal_components(features: np.ndarray, *, seed: int) -> np.ndarray:
    """Standardize features (n, d) and project them on their first principal components, (n, ≤ COMPONENTS_MAX)."""
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    if len(features) < 2:
        return np.zeros((len(features), 2), np.float32)
    standardized = StandardScaler().fit_transform(features.astype(np.float32))
    components = min(COMPONENTS_MAX, *standardized.shape)
    if not np.ptp(standardized, axis=0).any():  # no variance to explain: all items lie at one point
        return np.zeros((len(features), components), np.float32)
    pca = PCA(components, svd_solver="randomized", random_state=seed)
    return np.asarray(pca.fit_transform(standardized))


def maps(components: np.ndarray, *, seed: int) -> dict[str, np.ndarray]:
    """Two maps of principal components (n, d) → points (n, 2) by method, whole numbers in 0..1000.

    `pca` is the first two components. `tsne` keeps neighbors together; its distances mean nothing. Fewer than four
    items, and items that all lie at one point, have no t-SNE, which would divide by their spread (and crash).
    """
    from sklearn.manifold import TSNE

    plane = np.pad(components, ((0, 0), (0, 2)))[:, :2]
    if len(components) < 4 or np.ptp(plane[:, 0]) == 0:
        return {"pca": to_grid(plane)}
    perplexity = min(30.0, (len(components) - 1) / 3)
    with threadpool_limits(1):  # two threads on busy cores wait for each other: 40 times slower on 180 items
        tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1).fit_transform(components)
    return {"tsne": to_grid(tsne), "pca": to_grid(plane)}


def to_grid(points: np.ndarray) -> np.ndarray:
    """Move and scale points (n, 2) into 0..1000, whole numbers, with one scale for both axes."""
    low, high = points.min(axis=0), points.max(axis=0)
    return np.asarray(np.rint((points - low) / np.maximum((high - low).max(), 1e-12) * 1000).astype(int))


def nearest_neighbors(features: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The most similar of train (m, d) to each of features (n, d) → positions (n, NEIGHBORS), best first, and cosines.

    Of a smaller train, all its items.
    """
    queries, references = normalize_rows(features), normalize_rows(train)
    neighbors = min(NEIGHBORS, len(references))
    positions = np.empty((len(queries), neighbors), np.int64)
    cosines = np.empty((len(queries), neighbors), np.float32)
    rows = max(1, min(BLOCK_ROWS, BLOCK_BYTES // (4 * max(1, len(references)))))
    for start in range(0, len(queries), rows):
        similarities = queries[start : start + rows] @ references.T  # (b, m)
        best = np.argpartition(-similarities, neighbors - 1, axis=1)[:, :neighbors]
        values = np.take_along_axis(similarities, best, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        positions[start : start + rows] = np.take_along_axis(best, order, axis=1)
        cosines[start : start + rows] = np.take_along_axis(values, order, axis=1)
    return positions, cosines


def nearest_of_store(read: Read, items: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`nearest_neighbors` of a store's items (n,) among those of train (m,): all compared with all, or of many by an
    index of their first principal directions, which overlooks a few."""
    if len(items) * len(train) <= COMPARISONS_MAX and len(train) <= TRAIN_MAX:
        return nearest_neighbors(read(items), read(train))
    directions = principal_directions(read, train)
    index = CellIndex.build(projected(read, train, directions))
    queries = projected(read, items, directions)
    positions, cosines = np.empty((len(items), NEIGHBORS), np.int64), np.empty((len(items), NEIGHBORS), np.float32)
    candidates, _ = index.nearest(queries, CANDIDATES)
    candidates = np.where(candidates < 0, candidates[:, :1], candidates)  # cells with fewer
    for start in range(0, len(items), READ_ROWS):
        rows = slice(start, start + READ_ROWS)
        distinct, of_pair = np.unique(candidates[rows], return_inverse=True)
        features = normalize_rows(read(train[distinct]))[of_pair.reshape(-1, CANDIDATES)]
        values = np.einsum("bd,bkd->bk", normalize_rows(read(items[rows])), features)
        order = np.argsort(-values, axis=1, kind="stable")[:, :NEIGHBORS]
        positions[rows] = np.take_along_axis(candidates[rows], order, axis=1)
        cosines[rows] = np.take_along_axis(values, order, axis=1)
    return positions, cosines


def principal_directions(read: Read, items: np.ndarray) -> np.ndarray:
    """The directions (d, ≤ DIRECTIONS_MAX) along which features of length 1 are largest, of a sample of the items."""
    sample = normalize_rows(read(np.sort(np.random.default_rng(0).permutation(items)[:DIRECTIONS_FITTED_MAX])))
    _, vectors = np.linalg.eigh(sample.T @ sample)
    return np.ascontiguousarray(vectors[:, -DIRECTIONS_MAX:])


def projected(read: Read, items: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Features of length 1 along directions (n, c), float16."""
    points = np.empty((len(items), directions.shape[1]), np.float16)
    for start in range(0, len(items), READ_ROWS):
        points[start : start + READ_ROWS] = normalize_rows(read(items[start : start + READ_ROWS])) @ directions
    return points


def normalize_rows(features: np.ndarray) -> np.ndarray:
    """Each row of (n, d) with length 1, float32."""
    rows = features.astype(np.float32)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
