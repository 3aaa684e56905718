"""Multinomial logistic regression; of sets of labels, one of each label against the rest."""

from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from scipy.special import expit

from icebox.pipeline.estimators.classification import (
    class_numbers,
    indicator_columns,
    log_odds,
    set_columns,
    set_log_odds,
)
from icebox.pipeline.estimators.linear import LinearLogitsClassifier, LinearSetClassifier
from icebox.pipeline.estimators.penalized_linear import FitProblem, PenalizedLinear
from icebox.pipeline.estimators.preprocessing import PreprocessedHead

STREAMS = True  # reads features from disk where they are large
SEARCH = {"C": [0.001, 0.01, 0.1, 1.0], "scale": ["each", "overall"]}  # the grid of an entry without settings


def build(
    *,
    C: Annotated[float, Gt(0), Le(10**12)] = 1.0,
    scale: Literal["each", "overall", "l2", "none"] = "each",
    pca: Annotated[int, Ge(1)] | Annotated[float, Gt(0), Lt(1)] | None = None,
    max_iter: Annotated[int, Ge(1), Le(1_000_000)] = 1000,
    tol: Annotated[float, Gt(0), Lt(1)] = 3e-4,
    task: Literal["classification", "multilabel"] = "classification",
) -> PreprocessedHead:
    """`C`: inverse strength of the L2 penalty. `max_iter`: the most steps of the solver, which ends where no entry of
    the gradient is larger than `tol`."""
    family = LogReg if task == "classification" else SetLogReg
    return PreprocessedHead(family(C=C, max_iter=max_iter, tol=tol), scale=scale, pca=pca)


class LogReg(LinearLogitsClassifier, PenalizedLinear):
    """Reaches the optimum of `sklearn.linear_model.LogisticRegression(C=C)`."""

    def _problem(self, y: np.ndarray, weights: np.ndarray) -> FitProblem:
        self.classes_, numbers = class_numbers(y)
        k = len(self.classes_)
        return FitProblem(indicator_columns(numbers, k), log_odds(numbers, k, weights), curvature=(k - 1) / k**2)

    def _losses(self, outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if len(outputs) == 1:
            return (np.logaddexp(0, outputs) - targets * outputs)[0], expit(outputs) - targets
        outputs -= outputs.max(axis=0)
        target_outputs = (outputs * targets).sum(axis=0)
        exponentials = np.exp(outputs, out=outputs)
        sums = exponentials.sum(axis=0)
        losses = np.log(sums) - target_outputs
        exponentials /= sums
        exponentials -= targets
        return losses, exponentials


class SetLogReg(LinearSetClassifier, PenalizedLinear):
    """Reaches for each label the optimum of `sklearn.linear_model.LogisticRegression(C=C)` against all other items."""

    def _problem(self, y: np.ndarray, weights: np.ndarray) -> FitProblem:
        targets = set_columns(y)
        self.n_labels_ = targets.shape[1]
        return FitProblem(targets, set_log_odds(targets, weights), curvature=1 / 4)

    def _losses(self, outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        losses = (np.logaddexp(0, outputs) - targets * outputs).sum(axis=0)
        return losses, expit(outputs) - targets
