"""An untrained head: it predicts the class frequencies and ignores the features.

Unfreezing starts from it with `start: fresh`; on its own, it is the score that any other head has to beat.
"""

from typing import Any, Literal

from sklearn.base import BaseEstimator
from sklearn.dummy import DummyClassifier, DummyRegressor

from icebox.pipeline.dense.mean_box import MeanBox


def build(*, task: Literal["classification", "regression", "detection"] = "classification") -> BaseEstimator:
    """Predicts the most frequent class, with the classes' frequencies as probabilities; or the mean of the values; or
    everywhere boxes of the commonest class's mean size."""
    heads: dict[str, Any] = {"regression": DummyRegressor, "detection": MeanBox}
    return heads[task]() if task in heads else DummyClassifier(strategy="prior")
