"""Labels and predictions of a split as metrics take them: every item once, or weighted by the draws of a bootstrap.

Letters: n items, b draws, k classes.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np

from icebox.features.manifest.validation import Task

DENSE_CLASSES = 50  # with more, a matrix (n, k) with one value a row is kept sparse


class Scorable(Protocol):
    """n answers beside the truth, in a form that metrics take, each once or weighted.

    Of a class or a number an item that is `Sample`; of pictures, see `icebox.pipeline.evaluation.dense_tasks.dense`.
    """

    @property
    def task(self) -> Task:
        """The task whose metrics it has."""

    @property
    def has_probabilities(self) -> bool:
        """Whether metrics of probabilities are defined."""

    def __len__(self) -> int: ...

    def reweighted(self, weights: np.ndarray) -> Self:
        """These items under weights (b, n): how often each of b draws holds an item. Scores are (b,) then."""

    def part(self, items: np.ndarray) -> Self:
        """The items at these positions, each once."""

    def differs(self, other: Self) -> np.ndarray:
        """Whether two heads' answers to the same items differ (n,) bool."""

    def joined(self, other: Self) -> Self:
        """These items, each once, and behind them those of `other`."""

    def require_finite(self) -> None:
        """Raise ValueError, as scikit-learn does, for answers that are no finite numbers."""


@dataclass(frozen=True)
class Sample:
    """n items: labels and predictions (n,), which are class numbers, or values in a regression (then `classes` is 0).

    `probabilities` (n, k), if there are any, or only those of the true classes, `label_probabilities` (n,). `weights`
    (b, n) float32: how often each of b draws holds an item. Sums and means are (b,) then, and numbers without weights;
    counts by class are (b, k), or (k,).
    """

    labels: np.ndarray
    predicted: np.ndarray
    classes: int = 0
    probabilities: np.ndarray | None = None
    label_probabilities: np.ndarray | None = None
    weights: np.ndarray | None = None
    _one_hot: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)  # shared by all draws

    @property
    def task(self) -> Task:
        """Classification or regression."""
        return "classification" if self.classes else "regression"

    def reweighted(self, weights: np.ndarray) -> "Sample":
        """A sample of these items under weights (b, n)."""
        return replace(self, weights=weights)

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, items: np.ndarray) -> "Sample":
        """The items at these positions, each once."""
        of_labels = None if self.label_probabilities is None else self.label_probabilities[items]
        return Sample(self.labels[items], self.predicted[items], self.classes, label_probabilities=of_labels)

    def differs(self, other: "Sample") -> np.ndarray:
        """Whether two heads' predictions for the same items differ (n,) bool."""
        differing: np.ndarray = self.predicted != other.predicted
        return differing

    def joined(self, other: "Sample") -> "Sample":
        """These items, each once, and behind them those of `other`; their probabilities are left out."""
        labels = np.concatenate([self.labels, other.labels])
        return Sample(labels, np.concatenate([self.predicted, other.predicted]), self.classes)

    def require_finite(self) -> None:
        """Raise ValueError, as scikit-learn does, for predictions or probabilities that are no finite numbers."""
        for values in (self.predicted, self.probabilities):
            if values is not None and not np.isfinite(values).all():
                raise ValueError("Predictions contain NaN or infinity.")

    def mean(self, values: np.ndarray) -> Any:
        """The mean of one value an item (n,)."""
        if self.weights is None:
            return values.mean()
        if values.dtype == bool:
            values = values.astype(np.float32)
        return self.weights @ values / self.weights.sum(axis=1)

    @cached_property
    def right(self) -> np.ndarray:
        """Whether each prediction is the label (n,) bool."""
        hits: np.ndarray = self.labels == self.predicted
        return hits

    @cached_property
    def errors(self) -> np.ndarray:
        """Differences prediction − label (n,) float64."""
        residuals: np.ndarray = self.predicted.astype(np.float64) - self.labels
        return residuals

    @property
    def has_probabilities(self) -> bool:
        """Whether the probabilities of the true classes are known."""
        return self.probabilities is not None or self.label_probabilities is not None

    @cached_property
    def losses(self) -> np.ndarray:
        """-log p of the true class (n,) float64; p counts as the smallest difference from 1 at the least, as in
        scikit-learn."""
        of_labels = self.label_probabilities
        if of_labels is None:
            assert self.probabilities is not None
            of_labels = self.probabilities[np.arange(len(self.labels)), self.labels]
        smallest = np.finfo(of_labels.dtype).eps
        losses: np.ndarray = -np.log(np.clip(of_labels.astype(np.float64), smallest, 1.0))
        return losses

    @cached_property
    def hits(self) -> np.ndarray:
        """Right predictions by class."""
        return self._by_class("hits", self.labels, self.right)

    @cached_property
    def label_counts(self) -> np.ndarray:
        """Items by true class."""
        return self._by_class("labels", self.labels, np.ones(len(self.labels), bool))

    @cached_property
    def prediction_counts(self) -> np.ndarray:
        """Items by predicted class."""
        return self._by_class("predicted", self.predicted, np.ones(len(self.labels), bool))

    def _by_class(self, name: str, numbers: np.ndarray, counted: np.ndarray) -> np.ndarray:
        """Numbers of the counted items (n,) bool that have each class number (n,)."""
        if self.weights is None:
            return np.bincount(numbers[counted], minlength=self.classes)
        if name not in self._one_hot:
            self._one_hot[name] = one_hot(numbers, counted, self.classes)
        return np.asarray(self.weights @ self._one_hot[name])


def one_hot(numbers: np.ndarray, counted: np.ndarray, classes: int) -> Any:
    """A matrix (n, k) float32: 1 in the column of each counted row's class, else 0."""
    rows = np.flatnonzero(counted)
    if classes <= DENSE_CLASSES:
        matrix = np.zeros((len(numbers), classes), np.float32)
        matrix[rows, numbers[rows]] = 1
        return matrix
    from scipy.sparse import csr_matrix  # takes a sixth of a second to import

    return csr_matrix((np.ones(len(rows), np.float32), (rows, numbers[rows])), shape=(len(numbers), classes))
