"""An untrained head: it predicts the class frequencies and ignores the features.

Unfreezing starts from it with `start: fresh`; on its own, it is the score that any other head has to beat.
"""

from typing import Literal

from sklearn.base import BaseEstimator
from sklearn.dummy import DummyClassifier, DummyRegressor


def build(*, task: Literal["classification", "regression"] = "classification") -> BaseEstimator:
    """Predicts the most frequent class, with the classes' frequencies as probabilities; or the mean of the values."""
    return DummyClassifier(strategy="prior") if task == "classification" else DummyRegressor()
