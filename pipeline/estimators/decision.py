"""A fitted head whose decisions were moved: an offset is added to each class's score before the largest is taken.

Letters: n items, k classes.
"""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.metaestimators import available_if


class OffsetHead(ClassifierMixin, BaseEstimator):
    """A fitted head over all of k classes, and `offsets` (k,) of its log-probabilities, or of its margins.

    Probabilities and margins are those of the head itself; only `predict` differs. Of two classes the difference of the
    offsets is the threshold of their log-odds.
    """

    def __init__(self, head: Any, offsets: np.ndarray) -> None:
        self.head = head
        self.offsets = offsets

    @property
    def classes_(self) -> np.ndarray:
        """The class numbers (k,)."""
        return np.arange(len(self.offsets))

    @available_if(lambda self: hasattr(self.head, "predict_proba"))  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, k)."""
        probabilities: np.ndarray = self._of_head(X).scores
        return probabilities

    @available_if(lambda self: not hasattr(self.head, "predict_proba"))  # type: ignore[untyped-decorator]
    def decision_function(self, X: Any) -> np.ndarray:
        """Margins (n, k)."""
        margins: np.ndarray = self._of_head(X).scores
        return margins

    def predict(self, X: Any) -> np.ndarray:
        """Class numbers (n,)."""
        answers = self._of_head(X)
        return decide(answers.scores, self.offsets, has_probabilities=answers.has_probabilities)

    def _of_head(self, X: Any) -> Any:
        from icebox.pipeline.evaluation.predictions import predict

        return predict(self.head, X, len(self.offsets))


class ThresholdHead(ClassifierMixin, BaseEstimator):
    """A fitted head of sets of k labels, and the `thresholds` (k,) of its scores above which an item has a label."""

    def __init__(self, head: Any, thresholds: np.ndarray) -> None:
        self.head = head
        self.thresholds = thresholds

    @property
    def classes_(self) -> np.ndarray:
        """The label numbers (k,)."""
        return np.arange(len(self.thresholds))

    @available_if(lambda self: hasattr(self.head, "predict_proba"))  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, k), each for itself."""
        probabilities: np.ndarray = self.head.predict_proba(X)
        return probabilities

    @available_if(lambda self: not hasattr(self.head, "predict_proba"))  # type: ignore[untyped-decorator]
    def decision_function(self, X: Any) -> np.ndarray:
        """Margins (n, k)."""
        margins: np.ndarray = self.head.decision_function(X)
        return margins

    def predict(self, X: Any) -> np.ndarray:
        """Sets (n, k) of 0 and 1."""
        scores = self.predict_proba(X) if hasattr(self, "predict_proba") else self.decision_function(X)
        predicted: np.ndarray = (scores.astype(np.float32) > self.thresholds).astype(np.int8)
        return predicted


def decide(scores: np.ndarray, offsets: np.ndarray, *, has_probabilities: bool) -> np.ndarray:
    """The class (n,) whose score (n, k) and offset (k,) are largest together."""
    decided: np.ndarray = (levels(scores, has_probabilities=has_probabilities) + offsets).argmax(axis=1)
    return decided


def levels(scores: np.ndarray, *, has_probabilities: bool) -> np.ndarray:
    """Values to which offsets are added (n, k) float64: logs of probabilities, or margins as they are."""
    scores = scores.astype(np.float64)
    return np.log(np.maximum(scores, np.finfo(np.float64).tiny)) if has_probabilities else scores
