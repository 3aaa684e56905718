"""A linear support vector machine: margins, no probabilities."""

from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Le, Lt

from icebox.pipeline.estimators.classification import class_numbers, indicator_columns
from icebox.pipeline.estimators.linear import LinearMarginClassifier, LinearRegressor
from icebox.pipeline.estimators.penalized_linear import FitProblem, PenalizedLinear
from icebox.pipeline.estimators.preprocessing import PreprocessedHead

STREAMS = True  # reads features from disk where they are large
SEARCH = {"C": [0.0001, 0.001, 0.01, 0.1]}  # the grid of an entry without settings
PROBABILITIES = False  # margins: no part of an ensemble, unless they are calibrated


def build(
    *,
    C: Annotated[float, Gt(0), Le(10**12)] = 0.01,
    scale: Literal["each", "overall", "l2", "none"] = "overall",
    pca: Annotated[int, Ge(1)] | Annotated[float, Gt(0), Lt(1)] | None = None,
    max_iter: Annotated[int, Ge(1), Le(1_000_000)] = 1000,
    tol: Annotated[float, Gt(0), Lt(1)] = 3e-4,
    task: Literal["classification", "regression"] = "classification",
) -> PreprocessedHead:
    """`C`: inverse strength of the L2 penalty. `max_iter`: the most steps of the solver, which ends where no entry of
    the gradient is larger than `tol`."""
    family = LinearSVMClassifier if task == "classification" else LinearSVMRegressor
    return PreprocessedHead(family(C=C, max_iter=max_iter, tol=tol), scale=scale, pca=pca)


class LinearSVMClassifier(LinearMarginClassifier, PenalizedLinear):
    """One class against the rest with the squared hinge loss, like `sklearn.svm.LinearSVC`, which however penalizes the
    intercepts too."""

    def _problem(self, y: np.ndarray, weights: np.ndarray) -> FitProblem:
        self.classes_, numbers = class_numbers(y)
        targets = 2 * indicator_columns(numbers, len(self.classes_)) - 1
        return FitProblem(targets, weights @ targets / weights.sum(dtype=np.float64), curvature=1.0)

    def _losses(self, outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        slack = np.maximum(1 - targets * outputs, 0)
        return (slack * slack).sum(axis=0), -2 * targets * slack


class LinearSVMRegressor(LinearRegressor, PenalizedLinear):
    """Squared error beyond `EPSILON`, like `sklearn.svm.LinearSVR(loss="squared_epsilon_insensitive")`, with targets in
    units of their standard deviation, so that a C means the same whatever they measure."""

    EPSILON = 0.1

    def _problem(self, y: np.ndarray, weights: np.ndarray) -> FitProblem:
        y = np.asarray(y, dtype=np.float64)
        mean = np.average(y, weights=weights)
        unit = float(np.sqrt(np.average((y - mean) ** 2, weights=weights))) or 1.0
        return FitProblem((y / unit)[:, None], np.array([mean / unit]), curvature=2.0, unit=unit)

    def _losses(self, outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        error = outputs - targets
        excess = np.maximum(np.abs(error) - self.EPSILON, 0)
        return (excess**2)[0], 2 * excess * np.sign(error)
