"""Nearest class mean: works with one or two labels a class, and has little to overfit."""

from typing import Annotated, Any, Literal, Self

import numpy as np
from annotated_types import Ge, Gt, Le, Lt

from icebox.pipeline.data.on_disk import DiskFeatures, validate_fit_data
from icebox.pipeline.estimators.classification import class_numbers
from icebox.pipeline.estimators.linear import LinearLogitsClassifier
from icebox.pipeline.estimators.preprocessing import PreprocessedHead
from icebox.pipeline.evaluation.sample import one_hot

STREAMS = True  # reads features from disk where they are large
SEARCH = {"scale": ["each", "overall", "l2"], "shrink_threshold": [None, 1.0]}  # the grid of an entry without settings


def build(
    *,
    shrink_threshold: Annotated[float, Ge(0), Le(10**6)] | None = None,
    scale: Literal["each", "overall", "l2", "none"] = "each",
    pca: Annotated[int, Ge(1)] | Annotated[float, Gt(0), Lt(1)] | None = None,
) -> PreprocessedHead:
    """`shrink_threshold`: how far each class mean is moved toward the overall mean, in standard errors; features whose
    means all end there no longer count (nearest shrunken centroids, Tibshirani et al. 2002)."""
    return PreprocessedHead(Centroid(shrink_threshold=shrink_threshold), scale=scale, pca=pca)


class Centroid(LinearLogitsClassifier):
    """Predicts the classes of `sklearn.neighbors.NearestCentroid`, with probabilities that agree with them: a spherical
    Gaussian of one width about each mean. (scikit-learn's own probabilities weight the features, and their largest may
    be another class than its `predict`.)"""

    def __init__(self, *, shrink_threshold: float | None = None) -> None:
        self.shrink_threshold = shrink_threshold

    def fit(self, X: Any, y: Any) -> Self:
        """Fit on features (n, d) and labels (n,)."""
        X, y = validate_fit_data(self, X, y)
        self.classes_, numbers = class_numbers(y)
        counts = np.bincount(numbers)
        if isinstance(X, DiskFeatures):
            means, scatter, overall = moments_by_blocks(X, numbers, counts)
        else:
            means = np.stack([X[numbers == i].mean(axis=0, dtype=np.float64) for i in range(len(counts))])  # (k, d)
            scatter = sum(np.square(X[numbers == i] - mean).sum(axis=0) for i, mean in enumerate(means))  # (d,)
            overall = X.mean(axis=0, dtype=np.float64)
        if self.shrink_threshold is not None:
            deviation = np.sqrt(scatter / max(1, len(X) - len(counts)))
            errors = np.sqrt(1 / counts - 1 / len(X))[:, None] * (deviation + (np.median(deviation) or 1.0))
            shifts = (means - overall) / errors
            means -= (shifts - np.sign(shifts) * np.maximum(np.abs(shifts) - self.shrink_threshold, 0)) * errors
        variance = float(np.mean(scatter)) / len(X) or 1.0
        self.coef_ = (means / variance).astype(X.dtype)
        self.intercept_ = (-np.square(means).sum(axis=1) / (2 * variance)).astype(X.dtype)
        return self


def moments_by_blocks(
    X: DiskFeatures, numbers: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The classes' means (k, d), squares about these summed over items (d,), and the mean of all (d,), of features on
    disk; `numbers` (n,) are the classes', of `counts` (k,) items each."""
    members = one_hot(numbers, np.ones(len(numbers), bool), len(counts))
    sums = np.zeros((len(counts), X.shape[1]))
    for rows in X.blocks():
        sums += members[rows].T @ X[rows]
    means, scatter = sums / counts[:, None], np.zeros(X.shape[1])
    for rows in X.blocks():
        scatter += np.square(X[rows] - means[numbers[rows]]).sum(axis=0)
    return means, scatter, sums.sum(axis=0) / len(numbers)
