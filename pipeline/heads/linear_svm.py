"""A linear support vector machine: margins, no probabilities."""

from typing import Literal

from sklearn.base import ClassifierMixin
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from pipeline.scaling import scaler


def build(
    *, C: float = 0.01, scale: Literal["each", "overall"] = "overall", max_iter: int = 5000, balanced: bool = False
) -> ClassifierMixin:
    """`C`: inverse strength of the L2 penalty. `balanced`: weigh classes by the inverse of their frequency."""
    weights = "balanced" if balanced else None
    # dual=False draws nothing at random; the dual solver does, from one stream that fits side by side would scramble
    return make_pipeline(scaler(scale), LinearSVC(C=C, dual=False, max_iter=max_iter, class_weight=weights))
