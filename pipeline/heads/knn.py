"""k nearest neighbours: nothing is learned, so it shows what the features alone know."""

from typing import Literal

from sklearn.base import ClassifierMixin
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def build(
    *,
    neighbors: int = 5,
    metric: Literal["cosine", "euclidean"] = "cosine",
    weights: Literal["uniform", "distance"] = "distance",
    standardise: bool = True,
) -> ClassifierMixin:
    """`neighbors`: how many vote. `weights`: alike, or by the inverse of their distance."""
    voting = KNeighborsClassifier(n_neighbors=neighbors, metric=metric, weights=weights)
    return make_pipeline(StandardScaler(), voting) if standardise else make_pipeline(voting)
