"""A random forest."""

from typing import Literal

from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from icebox.pipeline.estimators.preprocessing import PreprocessedHead

SEARCH = {"n_estimators": 200, "min_samples_leaf": [1, 3]}  # the grid of an entry without settings


def build(
    *,
    n_estimators: int = 200,
    max_features: float | Literal["sqrt", "log2"] = "sqrt",
    min_samples_leaf: int = 1,
    max_depth: int | None = None,
    scale: Literal["each", "overall", "l2", "none"] = "none",
    pca: int | float | None = None,
    seed: int = 0,
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
