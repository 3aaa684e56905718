"""Ridge regression, and its classifier by targets of ±1: any number of penalties from one decomposition.

Letters: n items, d features, r directions in which the features vary, m columns of targets.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from sklearn.base import clone
from sklearn.utils.validation import _check_sample_weight

from icebox.pipeline.data.covariance import eigendecompose, row_blocks
from icebox.pipeline.data.on_disk import validate_fit_data
from icebox.pipeline.estimators.classification import class_numbers, indicator_columns, set_columns
from icebox.pipeline.estimators.linear import LinearMarginClassifier, LinearPath, LinearRegressor, LinearSetMargins
from icebox.pipeline.estimators.preprocessing import PreprocessedHead

STREAMS = True  # reads features from disk where they are large
SEARCH = {
    "alpha": [1.0, 10.0, 100.0, 1000.0, 10000.0],
    "scale": ["each", "overall"],
}  # the grid of an entry without settings
PROBABILITIES = False  # margins: no part of an ensemble, unless they are calibrated


def build(
    *,
    alpha: Annotated[float, Gt(0), Le(10**12)] = 1.0,
    scale: Literal["each", "overall", "l2", "none"] = "each",
    pca: Annotated[int, Ge(1)] | Annotated[float, Gt(0), Lt(1)] | None = None,
    task: Literal["classification", "regression", "multilabel"] = "classification",
) -> PreprocessedHead:
    """`alpha`: strength of the L2 penalty, against the sum of squared errors."""
    family = {"classification": RidgeClassifier, "regression": RidgeRegressor, "multilabel": RidgeSets}[task]
    return PreprocessedHead(family(alpha=alpha), scale=scale, pca=pca)


class Ridge(LinearPath):
    """Minimizes the sum of squared errors + alpha × the coefficients' sum of squares; the intercepts are free."""

    PATH_PARAMETERS = ("alpha",)

    def __init__(self, *, alpha: float = 1.0) -> None:
        self.alpha = alpha

    @abstractmethod
    def _targets(self, y: np.ndarray) -> np.ndarray:
        """Labels or values (n,) as targets (n, m)."""

    def fit_path(
        self, X: Any, y: Any, candidates: Sequence[Mapping[str, Any]], sample_weight: Any = None
    ) -> Iterator[tuple[int, Self]]:
        """(position in `candidates`, fitted head): one eigendecomposition, then one division for each penalty."""
        X, y = validate_fit_data(self, X, y)
        weights = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        targets = self._targets(y)
        covariance, total = eigendecompose(X, weights), weights.sum(dtype=np.float64)
        mean = weights @ targets / total  # (m,)
        targets = ((targets - mean) * weights[:, None]).astype(X.dtype)
        products = np.zeros((X.shape[1], len(mean)))
        for rows in row_blocks(len(X)):
            products += (X[rows] - covariance.mean.astype(X.dtype)).T @ targets[rows]
        along = covariance.directions.T @ products  # (r, m)
        for position, candidate in enumerate(candidates):
            head = clone(self).set_params(**candidate)
            head.__dict__ |= {name: v for name, v in self.__dict__.items() if name.endswith("_")}  # n_features_in_ …
            shrunk = along / (covariance.variances * total + head.alpha)[:, None]  # (r, m)
            coefficients = covariance.directions @ shrunk  # (d, m)
            head.coef_ = coefficients.T.astype(X.dtype)
            head.intercept_ = (mean - covariance.mean @ coefficients).astype(X.dtype)
            yield position, head


class RidgeRegressor(LinearRegressor, Ridge):
    """The coefficients of `sklearn.linear_model.Ridge`."""

    def _targets(self, y: np.ndarray) -> np.ndarray:
        return np.asarray(y, dtype=np.float64)[:, None]


class RidgeClassifier(LinearMarginClassifier, Ridge):
    """The margins of `sklearn.linear_model.RidgeClassifier`."""

    def _targets(self, y: np.ndarray) -> np.ndarray:
        self.classes_, numbers = class_numbers(y)
        return 2 * indicator_columns(numbers, len(self.classes_)) - 1


class RidgeSets(LinearSetMargins, Ridge):
    """For each label the margins of `sklearn.linear_model.RidgeClassifier` against all other items."""

    def _targets(self, y: np.ndarray) -> np.ndarray:
        targets = set_columns(y)
        self.classes_ = np.arange(targets.shape[1])
        return 2 * targets - 1
