"""Two ways to bring features to a size that heads expect."""

from typing import Any, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted, validate_data

Scale = Literal["each", "overall"]


def scaler(scale: Scale) -> TransformerMixin:
    """`each` feature to mean 0 and variance 1; or all by one number, `overall`, which keeps their proportions.

    Standardising blows up features that are nearly always 0, such as hashed words: there `overall` is the fair one
    (val accuracy of a linear SVM on hashed docstrings 0.47 against 0.40).
    """
    return StandardScaler() if scale == "each" else OverallScaler()


class OverallScaler(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Divide all features (n, d) by one number, so that their mean variance is 1. Zeros stay zeros."""

    def fit(self, X: Any, y: Any = None) -> Self:
        """Measure the mean variance."""
        X = validate_data(self, X, dtype=(np.float64, np.float32))
        self.scale_ = float(np.sqrt(X.var(axis=0, dtype=np.float64).mean())) or 1.0
        return self

    def transform(self, X: Any) -> np.ndarray:
        """(n, d) → (n, d)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        scaled: np.ndarray = X / X.dtype.type(self.scale_)
        return scaled
