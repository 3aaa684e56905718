"""What heads of our own share.

Letters: n items, d features, k classes, m columns of coefficients: k, or 1 for two classes and for values.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data


def class_numbers(y: Any) -> tuple[np.ndarray, np.ndarray]:
    """(the classes (k,), sorted; the labels (n,) as their numbers). Raises ValueError unless k ≥ 2."""
    check_classification_targets(y)
    classes, numbers = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"expected at least two classes, found only one class: {classes}")
    return classes, numbers


def columns(numbers: np.ndarray, k: int) -> np.ndarray:
    """Class numbers (n,) as columns (n, m) of 0 and 1."""
    one_hot: np.ndarray = np.eye(k)[numbers]
    return one_hot if k > 2 else one_hot[:, 1:]


def log_odds(numbers: np.ndarray, k: int, weights: np.ndarray) -> np.ndarray:
    """The intercepts (m,) that know how frequent classes are, and nothing else: where linear heads start from."""
    shares = np.bincount(numbers, weights, minlength=k) / weights.sum(dtype=np.float64)
    logs = np.log(np.clip(shares, 1e-6, None))
    odds: np.ndarray = logs - logs.mean() if k > 2 else logs[1:] - logs[:1]
    return odds


class Linear(BaseEstimator):
    """What is linear in the features: `coef_` (m, d) and `intercept_` (m,)."""

    def _said(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float32, np.float64), reset=False)
        said: np.ndarray = X @ self.coef_.T + self.intercept_  # (n, m)
        return said


class LinearPath(Linear):
    """A linear head of which several settings are fitted in one go: a fit is a path of one."""

    @abstractmethod
    def fit_path(
        self, X: Any, y: Any, settings: Sequence[Mapping[str, Any]], sample_weight: Any = None
    ) -> Iterator[tuple[int, Self]]:
        """(position in `settings`, fitted head) of each."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit on features (n, d) and labels or values (n,)."""
        for _, fitted in self.fit_path(X, y, [{}], sample_weight=sample_weight):
            self.__dict__ |= fitted.__dict__
        return self


class LinearValues(RegressorMixin, Linear):
    """Linear regression."""

    def predict(self, X: Any) -> np.ndarray:
        """Values (n,)."""
        values: np.ndarray = self._said(X)[:, 0]
        return values


class LinearMargins(ClassifierMixin, Linear):
    """A linear classifier with margins, and no probabilities; `classes_` (k,)."""

    def decision_function(self, X: Any) -> np.ndarray:
        """Margins (n, k); of two classes (n,)."""
        said = self._said(X)
        margins: np.ndarray = said[:, 0] if len(self.classes_) == 2 else said
        return margins

    def predict(self, X: Any) -> np.ndarray:
        """The class of the largest margin (n,)."""
        said = self._said(X)
        numbers = (said[:, 0] > 0).astype(int) if len(self.classes_) == 2 else said.argmax(axis=1)
        predicted: np.ndarray = self.classes_[numbers]
        return predicted


class LogitsClassifier(ClassifierMixin, BaseEstimator):
    """A classifier that says one logit a class; `classes_` (k,)."""

    @abstractmethod
    def _logits(self, X: Any) -> np.ndarray:
        """(n, k), for two classes too."""

    def decision_function(self, X: Any) -> np.ndarray:
        """Logits (n, k); of two classes, their difference (n,), as scikit-learn has it."""
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, k)."""
        probabilities: np.ndarray = softmax(self._logits(X), axis=1)
        return probabilities

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class (n,)."""
        logits = self._logits(X)
        predicted: np.ndarray = self.classes_[logits.argmax(axis=1)]
        return predicted
