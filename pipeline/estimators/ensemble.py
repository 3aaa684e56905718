"""Several fitted heads as one: the mean of their probabilities."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin


class MeanEnsemble(ClassifierMixin, BaseEstimator):
    """Heads that were fitted on one store, equally weighted; `classes` is the number k of its classes."""

    def __init__(self, heads: Sequence[Any], classes: int) -> None:
        self.heads = heads
        self.classes = classes

    @property
    def classes_(self) -> np.ndarray:
        """The class numbers (k,)."""
        return np.arange(self.classes)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, k)."""
        from icebox.pipeline.evaluation.predictions import predict

        return mean_probabilities([predict(head, X, self.classes).scores for head in self.heads])

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class (n,)."""
        predicted: np.ndarray = self.predict_proba(X).argmax(axis=1)
        return predicted


class MeanSets(MeanEnsemble):
    """Heads of sets of `classes` labels: the mean probability of each label, by itself."""

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, k), each for itself."""
        from icebox.pipeline.evaluation.predictions import predict_sets

        return mean_of_labels([predict_sets(head, X).scores for head in self.heads])

    def predict(self, X: Any) -> np.ndarray:
        """Sets (n, k) of 0 and 1: the labels that are more likely than not."""
        return (self.predict_proba(X) > 0.5).astype(np.int8)


def mean_of_labels(probabilities: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of several heads' probabilities (n, k) of labels, each for itself."""
    mean: np.ndarray = np.mean(np.stack(probabilities).astype(np.float64), axis=0)
    return mean


def mean_probabilities(probabilities: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of several heads' probabilities (n, k) of classes, whose rows sum to 1."""
    mean: np.ndarray = np.mean(np.stack(probabilities), axis=0)
    mean /= mean.sum(axis=1, keepdims=True)
    return mean
