"""Multinomial logistic regression."""

from typing import Any, Literal

import numpy as np
from scipy.special import expit

from icebox.pipeline.estimators.base import LogitsClassifier, class_numbers, columns, log_odds
from icebox.pipeline.estimators.penalized_linear import Penalised, Start
from icebox.pipeline.estimators.preprocessing import Preprocessed


def build(
    *,
    C: float = 1.0,
    scale: Literal["each", "overall", "l2", "none"] = "each",
    pca: int | float | None = None,
    max_iter: int = 1000,
    tolerance: float = 3e-4,
) -> Preprocessed:
    """`C`: inverse strength of the L2 penalty."""
    return Preprocessed(LogReg(C=C, max_iter=max_iter, tolerance=tolerance), scale=scale, pca=pca)


class LogReg(LogitsClassifier, Penalised):
    """The optimum of `sklearn.linear_model.LogisticRegression(C=C)`."""

    def _begin(self, y: np.ndarray, weights: np.ndarray) -> Start:
        self.classes_, numbers = class_numbers(y)
        k = len(self.classes_)
        return Start(columns(numbers, k), log_odds(numbers, k, weights), curvature=(k - 1) / k**2)

    def _losses(self, said: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if len(said) == 1:
            return (np.logaddexp(0, said) - targets * said)[0], expit(said) - targets
        said -= said.max(axis=0)
        wanted = (said * targets).sum(axis=0)
        exponentials = np.exp(said, out=said)
        sums = exponentials.sum(axis=0)
        losses = np.log(sums) - wanted
        exponentials /= sums
        exponentials -= targets
        return losses, exponentials

    def _logits(self, X: Any) -> np.ndarray:
        logits = self._said(X)
        return logits if len(self.classes_) > 2 else np.hstack([np.zeros_like(logits), logits])
