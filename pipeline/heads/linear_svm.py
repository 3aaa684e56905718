"""A linear support vector machine: margins, no probabilities."""

from typing import Literal

import numpy as np

from icebox.pipeline.estimators.base import LinearMargins, LinearValues, class_numbers, columns
from icebox.pipeline.estimators.penalized_linear import Penalised, Start
from icebox.pipeline.estimators.preprocessing import Preprocessed


def build(
    *,
    C: float = 0.01,
    scale: Literal["each", "overall", "l2", "none"] = "overall",
    pca: int | float | None = None,
    max_iter: int = 1000,
    tolerance: float = 3e-4,
    task: Literal["classification", "regression"] = "classification",
) -> Preprocessed:
    """`C`: inverse strength of the L2 penalty."""
    family = Margins if task == "classification" else Values
    return Preprocessed(family(C=C, max_iter=max_iter, tolerance=tolerance), scale=scale, pca=pca)


class Margins(LinearMargins, Penalised):
    """One class against the rest with the squared hinge loss, as `sklearn.svm.LinearSVC` has it, whose penalty however
    counts the intercepts too."""

    def _begin(self, y: np.ndarray, weights: np.ndarray) -> Start:
        self.classes_, numbers = class_numbers(y)
        targets = 2 * columns(numbers, len(self.classes_)) - 1
        return Start(targets, weights @ targets / weights.sum(dtype=np.float64), curvature=1.0)

    def _losses(self, said: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        short = np.maximum(1 - targets * said, 0)
        return (short * short).sum(axis=0), -2 * targets * short


class Values(LinearValues, Penalised):
    """Squared error beyond `EPSILON`, as `sklearn.svm.LinearSVR(loss="squared_epsilon_insensitive")` has it, with the
    targets in units of their standard deviation, so that a C means the same whatever they measure."""

    EPSILON = 0.1

    def _begin(self, y: np.ndarray, weights: np.ndarray) -> Start:
        y = np.asarray(y, dtype=np.float64)
        mean = np.average(y, weights=weights)
        spread = float(np.sqrt(np.average((y - mean) ** 2, weights=weights))) or 1.0
        return Start((y / spread)[:, None], np.array([mean / spread]), curvature=2.0, unit=spread)

    def _losses(self, said: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        error = said - targets
        beyond = np.maximum(np.abs(error) - self.EPSILON, 0)
        return (beyond**2)[0], 2 * beyond * np.sign(error)
