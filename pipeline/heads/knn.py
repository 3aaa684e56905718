"""k nearest neighbours: nothing is learned, so it shows what the features alone know."""

from typing import Literal

from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from pipeline.preprocess import Preprocessed


def build(
    *,
    neighbors: int = 5,
    metric: Literal["cosine", "euclidean"] = "cosine",
    weights: Literal["uniform", "distance"] = "distance",
    scale: Literal["each", "overall", "l2", "none"] = "each",
    pca: int | float | None = None,
    task: Literal["classification", "regression"] = "classification",
) -> Preprocessed:
    """`neighbors`: how many vote. `weights`: alike, or by the inverse of their distance."""
    family = KNeighborsClassifier if task == "classification" else KNeighborsRegressor
    return Preprocessed(family(n_neighbors=neighbors, metric=metric, weights=weights), scale=scale, pca=pca)
