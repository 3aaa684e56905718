"""Heads and labelled features small enough to know by heart, for tests of how heads are chosen and fitted."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from icebox.pipeline.data.labelled import LabelledSplit


class Always(ClassifierMixin, BaseEstimator):
    """Predicts `answer` for every item. Remembers the number and weights of the items in `fit`."""

    def __init__(self, answer: float = 0, seed: int = 0) -> None:
        self.answer = answer
        self.seed = seed

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.unique(y)
        self.n_, self.weights_ = len(X), sample_weight
        return self

    def predict(self, X):
        return np.full(len(X), int(self.answer))

    def decision_function(self, X):
        return np.eye(max(2, len(self.classes_)))[self.predict(X)]


class Mean(RegressorMixin, BaseEstimator):
    """The mean of train's values, and `more`."""

    def __init__(self, more: float = 0.0) -> None:
        self.more = more

    def fit(self, X, y):
        self.mean_ = float(np.mean(y))
        return self

    def predict(self, X):
        return np.full(len(X), self.mean_ + self.more)


class EarlyStopped(Always):
    """Stops after as many epochs as there are items in val, or after `epochs`."""

    def __init__(self, answer: float = 0, epochs: int = 100) -> None:
        super().__init__(answer)
        self.epochs = epochs

    def fit(self, X: Any, y: Any, val: Any = None):
        self.stopped_ = self.epochs if val is None else len(val[1])
        return super().fit(X, y)

    def refit_parameters(self) -> dict[str, Any]:
        return {"epochs": self.stopped_}


def make_split(*labels: float, groups: str = "") -> LabelledSplit:
    """Items i0, i1, … with these labels; their one feature is the label."""
    ids = np.array([f"i{n}" for n in range(len(labels))])
    features = np.array(labels, np.float32)[:, None]
    return LabelledSplit(ids, features, np.array(labels), np.array(list(groups)) if groups else ids)
