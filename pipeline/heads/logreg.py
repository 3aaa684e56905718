"""Multinomial logistic regression."""

from typing import Literal

from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from pipeline.scaling import scaler


def build(
    *,
    C: float = 1.0,
    scale: Literal["each", "overall"] = "each",
    max_iter: int = 1000,
    tolerance: float = 1e-3,
    balanced: bool = False,
) -> ClassifierMixin:
    """`C`: inverse strength of the L2 penalty. `balanced`: weigh classes by the inverse of their frequency."""
    weights = "balanced" if balanced else None
    return make_pipeline(scaler(scale), LogisticRegression(C=C, max_iter=max_iter, tol=tolerance, class_weight=weights))
