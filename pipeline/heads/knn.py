"""k nearest neighbors: nothing is trained, so its score is that of the features alone."""

from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from icebox.pipeline.estimators.preprocessing import PreprocessedHead

SEARCH = {"n_neighbors": [1, 3, 5, 11, 21], "scale": ["each", "overall"]}  # the grid of an entry without settings


def build(
    *,
    n_neighbors: Annotated[int, Ge(1), Le(1_000_000)] = 5,
    metric: Literal["cosine", "euclidean"] = "cosine",
    weights: Literal["uniform", "distance"] = "distance",
    scale: Literal["each", "overall", "l2", "none"] = "each",
    pca: Annotated[int, Ge(1)] | Annotated[float, Gt(0), Lt(1)] | None = None,
    task: Literal["classification", "regression"] = "classification",
) -> PreprocessedHead:
    """`n_neighbors`: how many vote. `metric`: the distance by which they are nearest. `weights`: equal votes, or by
    the inverse of their distance."""
    family = KNeighborsClassifier if task == "classification" else KNeighborsRegressor
    if metric == "euclidean":
        return PreprocessedHead(family(n_neighbors=n_neighbors, weights=weights), scale=scale, pca=pca)
    # Of vectors of length 1 the nearest by angle are the nearest, which scikit-learn finds three times as fast.
    votes = inverse_squares if weights == "distance" else weights
    cosine = make_pipeline(Normalizer(), family(n_neighbors=n_neighbors, weights=votes))
    return PreprocessedHead(cosine, scale=scale, pca=pca)


def inverse_squares(distances: Any) -> np.ndarray:
    """Votes (n, neighbors) by distances between vectors of length 1: a cosine distance is half the square of theirs.

    Where a distance is 0, only such neighbors count, as in scikit-learn.
    """
    same = np.asarray(distances) == 0
    with np.errstate(divide="ignore"):
        votes: np.ndarray = 1 / np.square(distances)
    votes = np.where(same.any(axis=1, keepdims=True), same, votes)
    return votes
