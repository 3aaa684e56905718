"""k nearest neighbors: nothing is trained, so its score is that of the features alone."""

from typing import Annotated, Any, Literal, Self

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from icebox.pipeline.estimators.classification import SetClassifier, set_columns
from icebox.pipeline.estimators.preprocessing import PreprocessedHead

SEARCH = {"n_neighbors": [1, 3, 5, 11, 21], "scale": ["each", "overall"]}  # the grid of an entry without settings


def build(
    *,
    n_neighbors: Annotated[int, Ge(1), Le(1_000_000)] = 5,
    metric: Literal["cosine", "euclidean"] = "cosine",
    weights: Literal["uniform", "distance"] = "distance",
    scale: Literal["each", "overall", "l2", "none"] = "each",
    pca: Annotated[int, Ge(1)] | Annotated[float, Gt(0), Lt(1)] | None = None,
    task: Literal["classification", "regression", "multilabel"] = "classification",
) -> PreprocessedHead:
    """`n_neighbors`: how many vote. `metric`: the distance by which they are nearest. `weights`: equal votes, or by
    the inverse of their distance."""
    families = {"classification": KNeighborsClassifier, "regression": KNeighborsRegressor, "multilabel": NeighborSets}
    family = families[task]
    if metric == "euclidean":
        return PreprocessedHead(family(n_neighbors=n_neighbors, weights=weights), scale=scale, pca=pca)
    # Of vectors of length 1 the nearest by angle are the nearest, which scikit-learn finds three times as fast.
    votes = inverse_squares if weights == "distance" else weights
    cosine = make_pipeline(Normalizer(), family(n_neighbors=n_neighbors, weights=votes))
    return PreprocessedHead(cosine, scale=scale, pca=pca)


class NeighborSets(SetClassifier):
    """Sets of labels: the probability of each is its share of the neighbors' votes."""

    def __init__(self, *, n_neighbors: int = 5, weights: Any = "uniform") -> None:
        self.n_neighbors = n_neighbors
        self.weights = weights

    def fit(self, X: Any, y: Any) -> Self:
        """Keep features (n, d) and sets (n, k) of 0 and 1."""
        targets = set_columns(y)
        self.n_labels_ = targets.shape[1]
        self.votes_ = KNeighborsRegressor(n_neighbors=self.n_neighbors, weights=self.weights).fit(X, targets)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Shares of votes (n, k)."""
        shares: np.ndarray = np.clip(self.votes_.predict(X), 0.0, 1.0)
        return shares


def inverse_squares(distances: Any) -> np.ndarray:
    """Votes (n, neighbors) by distances between vectors of length 1: a cosine distance is half the square of theirs.

    Where a distance is 0, only such neighbors count, as in scikit-learn.
    """
    same = np.asarray(distances) == 0
    with np.errstate(divide="ignore"):
        votes: np.ndarray = 1 / np.square(distances)
    votes = np.where(same.any(axis=1, keepdims=True), same, votes)
    return votes
