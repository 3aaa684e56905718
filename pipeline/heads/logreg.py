"""Multinomial logistic regression on standardised features."""

from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def build(*, C: float = 1.0, max_iter: int = 1000, tolerance: float = 1e-3, balanced: bool = False) -> ClassifierMixin:
    """`C`: inverse strength of the L2 penalty. `balanced`: weigh classes by the inverse of their frequency."""
    return make_pipeline(
        StandardScaler(),
        LogisticRegression(C=C, max_iter=max_iter, tol=tolerance, class_weight="balanced" if balanced else None),
    )
