"""k nearest neighbours: nothing is learned, so it shows what the features alone know."""

from typing import Literal

from sklearn.base import ClassifierMixin
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from pipeline.scaling import scaler


def build(
    *,
    neighbors: int = 5,
    metric: Literal["cosine", "euclidean"] = "cosine",
    weights: Literal["uniform", "distance"] = "distance",
    scale: Literal["each", "overall"] = "each",
) -> ClassifierMixin:
    """`neighbors`: how many vote. `weights`: alike, or by the inverse of their distance."""
    return make_pipeline(scaler(scale), KNeighborsClassifier(n_neighbors=neighbors, metric=metric, weights=weights))
