"""Nearest class mean: works with one or two labels a class, and has little to overfit."""

from typing import Annotated, Any, Literal, Self

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from sklearn.utils.validation import validate_data

from icebox.pipeline.estimators.classification import class_numbers
from icebox.pipeline.estimators.linear import LinearLogitsClassifier
from icebox.pipeline.estimators.preprocessing import PreprocessedHead

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
        X, y = validate_data(self, X, y, dtype=(np.float32, np.float64))
        self.classes_, numbers = class_numbers(y)
        counts = np.bincount(numbers)
        means = np.stack([X[numbers == i].mean(axis=0, dtype=np.float64) for i in range(len(counts))])  # (k, d)
        scatter = sum(np.square(X[numbers == i] - mean).sum(axis=0) for i, mean in enumerate(means))  # (d,)
        if self.shrink_threshold is not None:
            deviation = np.sqrt(scatter / max(1, len(X) - len(counts)))
            errors = np.sqrt(1 / counts - 1 / len(X))[:, None] * (deviation + (np.median(deviation) or 1.0))
            shifts = (means - X.mean(axis=0, dtype=np.float64)) / errors
            means -= (shifts - np.sign(shifts) * np.maximum(np.abs(shifts) - self.shrink_threshold, 0)) * errors
        variance = float(np.mean(scatter)) / len(X) or 1.0
        self.coef_ = (means / variance).astype(X.dtype)
        self.intercept_ = (-np.square(means).sum(axis=1) / (2 * variance)).astype(X.dtype)
        return self
