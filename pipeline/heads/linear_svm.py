"""A linear support vector machine: margins, no probabilities."""

from typing import Literal

from sklearn.base import ClassifierMixin
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from pipeline.scaling import scaler


def build(
    *,
    C: float = 0.01,
    scale: Literal["each", "overall"] = "overall",
    max_iter: int = 5000,
    balanced: bool = False,
    seed: int = 0,
) -> ClassifierMixin:
    """`C`: inverse strength of the L2 penalty. `balanced`: weigh classes by the inverse of their frequency."""
    weights = "balanced" if balanced else None
    return make_pipeline(scaler(scale), LinearSVC(C=C, max_iter=max_iter, class_weight=weights, random_state=seed))
