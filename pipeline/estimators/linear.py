"""Bases of heads that are linear in the features.

Letters: n items, d features, k classes, m columns of coefficients: k, or 1 for two classes and for regressions.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from icebox.pipeline.estimators.classification import LogitsClassifier, SetLogitsClassifier


class LinearModel(BaseEstimator):
    """A linear function of the features: `coef_` (m, d) and `intercept_` (m,)."""

    def _outputs(self, X: Any) -> np.ndarray:
        """(n, m)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float32, np.float64), reset=False)
        outputs: np.ndarray = X @ self.coef_.T + self.intercept_
        return outputs


class LinearPath(LinearModel):
    """A linear head that fits several candidates in one go (`base.PathHead`); `fit` is a path of one."""

    PATH_PARAMETERS: tuple[str, ...]

    @abstractmethod
    def fit_path(
        self, X: Any, y: Any, candidates: Sequence[Mapping[str, Any]], sample_weight: Any = None
    ) -> Iterator[tuple[int, Self]]:
        """(position in `candidates`, fitted head) of each."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit on features (n, d) and labels or values (n,)."""
        for _, fitted in self.fit_path(X, y, [{}], sample_weight=sample_weight):
            self.__dict__ |= fitted.__dict__
        return self


class LinearRegressor(RegressorMixin, LinearModel):
    """Linear regression."""

    def predict(self, X: Any) -> np.ndarray:
        """Values (n,)."""
        values: np.ndarray = self._outputs(X)[:, 0]
        return values


class LinearMarginClassifier(ClassifierMixin, LinearModel):
    """A linear classifier with margins and without probabilities; `classes_` (k,)."""

    def decision_function(self, X: Any) -> np.ndarray:
        """Margins (n, k); of two classes (n,)."""
        outputs = self._outputs(X)
        margins: np.ndarray = outputs[:, 0] if len(self.classes_) == 2 else outputs
        return margins

    def predict(self, X: Any) -> np.ndarray:
        """The class of the largest margin (n,)."""
        outputs = self._outputs(X)
        numbers = (outputs[:, 0] > 0).astype(int) if len(self.classes_) == 2 else outputs.argmax(axis=1)
        predicted: np.ndarray = self.classes_[numbers]
        return predicted


class LinearSetMargins(ClassifierMixin, LinearModel):
    """A linear classifier of sets of labels, with margins and without probabilities; `classes_` (k,)."""

    def decision_function(self, X: Any) -> np.ndarray:
        """Margins (n, k)."""
        return self._outputs(X)

    def predict(self, X: Any) -> np.ndarray:
        """Sets (n, k) of 0 and 1: the labels whose margin is positive."""
        return (self._outputs(X) > 0).astype(np.int8)


class LinearSetClassifier(SetLogitsClassifier, LinearModel):
    """A linear classifier of sets of labels, with logits."""

    def _logits(self, X: Any) -> np.ndarray:
        return self._outputs(X)


class LinearLogitsClassifier(LogitsClassifier, LinearModel):
    """A linear classifier with logits; a single column of coefficients, m = 1, is the second of two classes' logit."""

    def _logits(self, X: Any) -> np.ndarray:
        outputs = self._outputs(X)
        return outputs if outputs.shape[1] > 1 else np.hstack([np.zeros_like(outputs), outputs])
