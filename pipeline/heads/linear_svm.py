"""A linear support vector machine on standardised features: margins, no probabilities."""

from sklearn.base import ClassifierMixin
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC


def build(*, C: float = 0.01, max_iter: int = 5000, balanced: bool = False, seed: int = 0) -> ClassifierMixin:
    """`C`: inverse strength of the L2 penalty. `balanced`: weigh classes by the inverse of their frequency."""
    return make_pipeline(
        StandardScaler(),
        LinearSVC(C=C, max_iter=max_iter, class_weight="balanced" if balanced else None, random_state=seed),
    )
