"""The nearest class mean: a label or two a class is enough, and there is little to overfit."""

from typing import Any, Literal, Self

import numpy as np
from sklearn.utils.validation import validate_data

from icebox.pipeline.estimators.base import Linear, LogitsClassifier, class_numbers
from icebox.pipeline.estimators.preprocessing import Preprocessed


def build(
    *,
    shrink: float | None = None,
    scale: Literal["each", "overall", "l2", "none"] = "each",
    pca: int | float | None = None,
) -> Preprocessed:
    """`shrink`: how far each mean is drawn to the mean of all, in standard errors; features that end there are out
    (nearest shrunken centroids, Tibshirani et al. 2002)."""
    return Preprocessed(Centroid(shrink=shrink), scale=scale, pca=pca)


class Centroid(LogitsClassifier, Linear):
    """The classes of `sklearn.neighbors.NearestCentroid`, with probabilities that agree with them: a round Gaussian of
    the same width about each mean. (Its own weigh the features, and may name another class than its `predict`.)"""

    def __init__(self, *, shrink: float | None = None) -> None:
        self.shrink = shrink

    def fit(self, X: Any, y: Any) -> Self:
        """Fit on features (n, d) and labels (n,)."""
        X, y = validate_data(self, X, y, dtype=(np.float32, np.float64))
        self.classes_, numbers = class_numbers(y)
        counts = np.bincount(numbers)
        means = np.stack([X[numbers == i].mean(axis=0, dtype=np.float64) for i in range(len(counts))])  # (k, d)
        spread = sum(np.square(X[numbers == i] - mean).sum(axis=0) for i, mean in enumerate(means))  # (d,)
        if self.shrink is not None:
            deviation = np.sqrt(spread / max(1, len(X) - len(counts)))
            errors = np.sqrt(1 / counts - 1 / len(X))[:, None] * (deviation + (np.median(deviation) or 1.0))
            apart = (means - X.mean(axis=0, dtype=np.float64)) / errors
            means -= (apart - np.sign(apart) * np.maximum(np.abs(apart) - self.shrink, 0)) * errors
        variance = float(np.mean(spread)) / len(X) or 1.0
        self.coef_ = (means / variance).astype(X.dtype)
        self.intercept_ = (-np.square(means).sum(axis=1) / (2 * variance)).astype(X.dtype)
        return self

    def _logits(self, X: Any) -> np.ndarray:
        return self._said(X)
