"""An untrained head: it predicts the class frequencies and ignores the features.

Unfreezing starts from it with `start: fresh`; on its own, it is the score that any other head has to beat.
"""

from typing import Any, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.utils.validation import check_is_fitted, validate_data

from icebox.pipeline.dense.mean_box import MeanBox
from icebox.pipeline.estimators.classification import SetClassifier, set_columns


def build(
    *, task: Literal["classification", "regression", "multilabel", "detection"] = "classification"
) -> BaseEstimator:
    """Predicts the most frequent class, with the classes' frequencies as probabilities; or the mean of the values; or
    of sets the labels that most items have, with each label's share of the items; or everywhere boxes of the commonest
    class's mean size."""
    heads: dict[str, Any] = {"regression": DummyRegressor, "multilabel": LabelShares, "detection": MeanBox}
    return heads[task]() if task in heads else DummyClassifier(strategy="prior")


class LabelShares(SetClassifier):
    """The share of the items that have each of k labels, as the probability of any item."""

    def fit(self, X: Any, y: Any) -> Self:
        """Count the sets of labels (n, k)."""
        validate_data(self, X)
        self.shares_ = set_columns(y).mean(axis=0)
        self.n_labels_ = len(self.shares_)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """(n, k), each row the same."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        return np.tile(self.shares_, (len(X), 1))
