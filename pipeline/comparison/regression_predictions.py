"""A test split as one head of a regression saw it: numbers beside numbers."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Measured:
    """n test items: ids, true and predicted values (n,) float64."""

    item_ids: list[str]
    labels: np.ndarray
    predicted: np.ndarray

    measure = "error"

    @property
    def errors(self) -> np.ndarray:
        """How far each prediction lies above the truth (n,)."""
        residuals: np.ndarray = self.predicted - self.labels
        return residuals

    @property
    def sure(self) -> np.ndarray:
        """The size of each error (n,): what mistakes are ordered by."""
        sizes: np.ndarray = np.abs(self.errors)
        return sizes

    @property
    def score(self) -> float:
        """The root of the mean squared error."""
        return float(np.sqrt((self.errors**2).mean()))

    def mistakes(self, limit: int) -> list[int]:
        """Positions of the largest errors, largest first; equal ones in the items' order."""
        return [int(i) for i in np.argsort(-self.sure, kind="stable")[:limit] if self.sure[i] > 0]

    def said(self, i: int) -> tuple[str, str]:
        """The true and the predicted value of an item."""
        return f"{self.labels[i]:.4g}", f"{self.predicted[i]:.4g}"
