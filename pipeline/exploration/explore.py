"""What a store's features are like: a map of the test items, each one's nearest train items, suspected label errors.

All of it hangs on the store alone, not on any head, and takes seconds: it is a stage of its own, so that the report
need not do it again.

Letters: n items, m items of train, d features, k classes.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

MAPPED = 1000  # test items on the map: more dots hide each other
NEAREST = 3
JUDGED = 20_000  # items that are looked through for label errors
WIDTH = 64  # principal components that the slow parts see: 15 times as fast as 4,096 features, and as good
FOLDS = 5
CONFIDENT = 0.8  # a probability below which a disagreement is no suspicion
BLOCK = 2048  # test items compared with train at once


@dataclass(frozen=True)
class Suspect:
    """An item (its position) whose label is confidently contradicted by its neighbours in feature space."""

    item: int
    suggested: str
    confidence: float
    of_label: float


def reduced(features: np.ndarray, *, seed: int) -> np.ndarray:
    """Standardised features (n, d) on their first principal components, (n, ≤ WIDTH)."""
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    if len(features) < 2:
        return np.zeros((len(features), 2), np.float32)
    scaled = StandardScaler().fit_transform(features.astype(np.float32))
    width = min(WIDTH, *scaled.shape)
    return np.asarray(PCA(width, svd_solver="randomized", random_state=seed).fit_transform(scaled))


def sample(items: np.ndarray, limit: int, *, seed: int) -> np.ndarray:
    """At most `limit` of the items, in their order."""
    if len(items) <= limit:
        return items
    return np.sort(np.random.default_rng(seed).choice(items, limit, replace=False))


def placed(components: np.ndarray, *, seed: int) -> dict[str, np.ndarray]:
    """Two maps (n, 2) of principal components (n, d): the first two of them, and t-SNE, which keeps neighbours
    together and says nothing by its distances."""
    from sklearn.manifold import TSNE

    plane = np.pad(components, ((0, 0), (0, 2)))[:, :2]
    if len(components) < 4:
        return {"pca": unit(plane)}
    perplexity = min(30.0, (len(components) - 1) / 3)
    with threadpool_limits(1):  # two threads on busy cores wait for each other: 40 times slower on 180 items
        tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1).fit_transform(components)
    return {"tsne": unit(tsne), "pca": unit(plane)}


def unit(points: np.ndarray) -> np.ndarray:
    """Points (n, 2) moved and scaled into 0..1000, whole numbers."""
    low, high = points.min(axis=0), points.max(axis=0)
    return np.asarray(np.rint((points - low) / np.maximum((high - low).max(), 1e-12) * 1000).astype(int))


def nearest(features: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each of (n, d) the positions (n, NEAREST) of the most similar of train (m, d), and their cosines."""
    ours, theirs = normalised(features), normalised(train)
    kept = min(NEAREST, len(theirs))
    places = np.empty((len(ours), kept), np.int64)
    cosines = np.empty((len(ours), kept), np.float32)
    for start in range(0, len(ours), BLOCK):
        similar = ours[start : start + BLOCK] @ theirs.T
        best = np.argpartition(-similar, kept - 1, axis=1)[:, :kept]
        values = np.take_along_axis(similar, best, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        places[start : start + BLOCK] = np.take_along_axis(best, order, axis=1)
        cosines[start : start + BLOCK] = np.take_along_axis(values, order, axis=1)
    return places, cosines


def normalised(features: np.ndarray) -> np.ndarray:
    """Each row of (n, d) with length 1, float32."""
    rows = features.astype(np.float32)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def out_of_fold(components: np.ndarray, labels: np.ndarray, groups: np.ndarray, *, seed: int) -> np.ndarray:
    """Probabilities (n, k) that a logistic head gives each item without having seen it, or its group.

    components: (n, d); labels: (n,) class numbers, each class at least twice; groups: (n,).
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folds = StratifiedGroupKFold(min(FOLDS, int(np.bincount(labels).min())), shuffle=True, random_state=seed)
    head = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    with warnings.catch_warnings(), threadpool_limits(1):
        # a head that has not quite converged, or a class whose items all lie in one group, is judged as well as can be
        warnings.simplefilter("ignore", RuntimeWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = cross_val_predict(head, components, labels, groups=groups, cv=folds, method="predict_proba")
    return np.asarray(found)


def suspects(probabilities: np.ndarray, labels: np.ndarray, classes: list[str]) -> list[Suspect]:
    """Items whose label is confidently contradicted, the surest first (confident learning, Northcutt et al. 2021).

    A class is confidently given where its probability reaches CONFIDENT and the mean that it has over the items
    labelled so: the first keeps a weak head quiet, the second fits itself to how sure the head is of each class.
    probabilities: (n, k), out of fold; labels: (n,).
    """
    own = probabilities[np.arange(len(labels)), labels]
    bars = np.array([max(CONFIDENT, own[labels == c].mean()) for c in range(len(classes))])
    confident = np.where(probabilities >= bars, probabilities, -1.0)
    other = confident.argmax(axis=1)
    lead = confident.max(axis=1) - own
    wrong = np.flatnonzero((other != labels) & (lead > 0))
    order = wrong[np.argsort(-lead[wrong], kind="stable")]
    return [
        Suspect(int(i), classes[other[i]], round(float(probabilities[i, other[i]]), 3), round(float(own[i]), 3))
        for i in order
    ]
