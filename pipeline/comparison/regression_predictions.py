"""A test split as one head of a regression saw it: numbers beside numbers."""

from dataclasses import dataclass

import numpy as np

from icebox.pipeline.evaluation.sample import Sample


@dataclass(frozen=True)
class Measured:
    """n test items: ids, true and predicted values (n,) float64."""

    item_ids: list[str]
    labels: np.ndarray
    predicted: np.ndarray

    measure = "error"

    @property
    def sample(self) -> Sample:
        """Labels and predictions, as metrics take them."""
        return Sample(self.labels, self.predicted)

    @property
    def errors(self) -> np.ndarray:
        """How far each prediction lies above the truth (n,)."""
        return self.sample.errors

    @property
    def sure(self) -> np.ndarray:
        """The size of each error (n,): what mistakes are ordered by."""
        sizes: np.ndarray = np.abs(self.errors)
        return sizes

    def mistakes(self, limit: int) -> list[int]:
        """Positions of the largest errors, largest first; equal ones in the items' order."""
        return [int(i) for i in np.argsort(-self.sure, kind="stable")[:limit] if self.sure[i] > 0]

    def said(self, i: int) -> tuple[str, str]:
        """The true and the predicted value of an item."""
        return f"{self.labels[i]:.4g}", f"{self.predicted[i]:.4g}"
