"""A random forest."""

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from icebox.pipeline.estimators.preprocessing import PreprocessedHead

SEARCH = {"n_estimators": 200, "min_samples_leaf": [1, 3]}  # the grid of an entry without settings


def build(
    *,
    n_estimators: Annotated[int, Ge(1), Le(100_000)] = 200,
    max_features: Annotated[int, Ge(1)] | Annotated[float, Gt(0), Le(1)] | Literal["sqrt", "log2"] = "sqrt",
    min_samples_leaf: Annotated[int, Ge(1), Le(10**9)] = 1,
    max_depth: Annotated[int, Ge(1), Le(1_000_000)] | None = None,
    scale: Literal["each", "overall", "l2", "none"] = "none",
    pca: Annotated[int, Ge(1)] | Annotated[float, Gt(0), Lt(1)] | None = None,
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0,
    task: Literal["classification", "regression"] = "classification",
) -> PreprocessedHead:
    """`n_estimators`: the number of trees. `min_samples_leaf`: the fewest items of a leaf. `max_features`: how many
    features, or what share of them, a split may choose from. `max_depth`: the largest."""
    family = RandomForestClassifier if task == "classification" else RandomForestRegressor
    forest = family(
        n_estimators=n_estimators,
        max_features=max_features,
        min_samples_leaf=min_samples_leaf,
        max_depth=max_depth,
        random_state=seed,
        n_jobs=1,  # the fits of a search run in parallel instead
    )
    return PreprocessedHead(forest, scale=scale, pca=pca)
