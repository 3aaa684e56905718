"""Class labels as numbers and columns, and the base of classifiers that compute a logit for each class.

Letters: n items, k classes (or labels of a set), m columns of targets: k, or 1 for two classes.
"""

from abc import abstractmethod
from typing import Any

import numpy as np
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets

from icebox.pipeline.data.on_disk import DiskFeatures


def class_numbers(y: Any) -> tuple[np.ndarray, np.ndarray]:
    """(the classes (k,), sorted; the labels (n,) as their numbers). Raises ValueError unless k ≥ 2."""
    check_classification_targets(y)
    classes, numbers = np.unique(np.asarray(y), return_inverse=True)  # y may be an array of another library
    if len(classes) < 2:
        raise ValueError(f"expected at least two classes, found only one class: {classes}")
    return classes, numbers


def of_known_classes(val: tuple[Any, Any], y: Any) -> tuple[Any, Any] | None:
    """The items of `val`, (features, labels), whose class is among the labels `y`; None where there are none."""
    features, labels = val
    known = np.flatnonzero(np.isin(labels, y))
    if len(known) == len(labels):
        return val
    taken = features.take(known) if isinstance(features, DiskFeatures) else np.asarray(features)[known]
    return (taken, np.asarray(labels)[known]) if len(known) else None


def indicator_columns(numbers: np.ndarray, k: int) -> np.ndarray:
    """Class numbers (n,) as columns (n, m) of 0 and 1: one for each class, or the second class's alone."""
    one_hot: np.ndarray = np.eye(k)[numbers]
    return one_hot if k > 2 else one_hot[:, 1:]


def log_odds(numbers: np.ndarray, k: int, weights: np.ndarray) -> np.ndarray:
    """The intercepts (m,) that give each class its weighted frequency: where iterative linear heads start from."""
    shares = np.bincount(numbers, weights, minlength=k) / weights.sum(dtype=np.float64)
    logs = np.log(np.clip(shares, 1e-6, None))
    odds: np.ndarray = logs - logs.mean() if k > 2 else logs[1:] - logs[:1]
    return odds


class LogitsClassifier(ClassifierMixin, BaseEstimator):
    """A classifier with one logit for each of its `classes_` (k,)."""

    @abstractmethod
    def _logits(self, X: Any) -> np.ndarray:
        """(n, k), for two classes too."""

    def decision_function(self, X: Any) -> np.ndarray:
        """Logits (n, k); of two classes, their difference (n,), as in scikit-learn."""
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


def set_columns(y: Any) -> np.ndarray:
    """Sets of labels as columns (n, k) float64 of 0 and 1. Raises ValueError for anything else."""
    targets = np.asarray(y, dtype=np.float64)
    if targets.ndim != 2 or not np.isin(targets, (0, 1)).all():
        raise ValueError(f"expected sets of labels, (n, k) of 0 and 1, found {targets.shape}")
    return targets


def set_log_odds(targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The intercepts (k,) that give each label its weighted frequency in sets (n, k)."""
    shares = np.clip(weights @ targets / weights.sum(dtype=np.float64), 1e-6, 1 - 1e-6)
    odds: np.ndarray = np.log(shares / (1 - shares))
    return odds


class SetClassifier(ClassifierMixin, BaseEstimator):
    """A classifier of sets of labels, with a probability for each label by itself."""

    @abstractmethod
    def predict_proba(self, X: Any) -> np.ndarray:
        """(n, k)."""

    @property
    def classes_(self) -> np.ndarray:
        """The label numbers (k,)."""
        return np.arange(self.n_labels_)

    def predict(self, X: Any) -> np.ndarray:
        """Sets (n, k) of 0 and 1: the labels that are more likely than not."""
        return (self.predict_proba(X) > 0.5).astype(np.int8)


class SetLogitsClassifier(SetClassifier):
    """A classifier of sets with one logit for each label."""

    @abstractmethod
    def _logits(self, X: Any) -> np.ndarray:
        """(n, k)."""

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, k)."""
        probabilities: np.ndarray = expit(self._logits(X))
        return probabilities
