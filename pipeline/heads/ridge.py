"""Ridge regression, and the classifier it makes of targets ±1: any number of penalties from one decomposition.

Letters: n items, d features, r directions in which the features vary, m columns of targets.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import _check_sample_weight

from icebox.pipeline.data.on_disk import validate_fit_data
from icebox.pipeline.estimators.base import LinearMargins, LinearPath, LinearValues, class_numbers, columns
from icebox.pipeline.estimators.covariance import blocks, spectrum
from icebox.pipeline.estimators.preprocessing import Preprocessed


def build(
    *,
    alpha: float = 1.0,
    scale: Literal["each", "overall", "l2", "none"] = "each",
    pca: int | float | None = None,
    task: Literal["classification", "regression"] = "classification",
) -> Preprocessed:
    """`alpha`: strength of the L2 penalty, against the sum of squared errors."""
    family = RidgeMargins if task == "classification" else RidgeValues
    return Preprocessed(family(alpha=alpha), scale=scale, pca=pca)


class Ridge(LinearPath):
    """The least sum of squared errors + alpha × the coefficients' sum of squares; the intercepts are free."""

    TOGETHER = ("alpha",)

    def __init__(self, *, alpha: float = 1.0) -> None:
        self.alpha = alpha

    @abstractmethod
    def _targets(self, y: np.ndarray) -> np.ndarray:
        """(n, m)."""

    def fit_path(
        self, X: Any, y: Any, settings: Sequence[Mapping[str, Any]], sample_weight: Any = None
    ) -> Iterator[tuple[int, Self]]:
        """(position in `settings`, fitted head): one eigendecomposition, then a division a penalty."""
        X, y = validate_fit_data(self, X, y)
        weights = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        targets = self._targets(y)
        found, total = spectrum(X, weights), weights.sum(dtype=np.float64)
        mean = weights @ targets / total  # (m,)
        targets = ((targets - mean) * weights[:, None]).astype(X.dtype)
        products = np.zeros((X.shape[1], len(mean)))
        for rows in blocks(len(X)):
            products += (X[rows] - found.mean.astype(X.dtype)).T @ targets[rows]
        along = found.directions.T @ products  # (r, m)
        for position, setting in enumerate(settings):
            head = clone(self).set_params(**setting)
            head.__dict__ |= {name: v for name, v in self.__dict__.items() if name.endswith("_")}  # n_features_in_ …
            coefficients = found.directions @ (along / (found.variances * total + head.alpha)[:, None])  # (d, m)
            head.coef_ = coefficients.T.astype(X.dtype)
            head.intercept_ = (mean - found.mean @ coefficients).astype(X.dtype)
            yield position, head


class RidgeValues(LinearValues, Ridge):
    """The coefficients of `sklearn.linear_model.Ridge`."""

    def _targets(self, y: np.ndarray) -> np.ndarray:
        return np.asarray(y, dtype=np.float64)[:, None]


class RidgeMargins(LinearMargins, Ridge):
    """The margins of `sklearn.linear_model.RidgeClassifier`."""

    def _targets(self, y: np.ndarray) -> np.ndarray:
        self.classes_, numbers = class_numbers(y)
        return 2 * columns(numbers, len(self.classes_)) - 1
