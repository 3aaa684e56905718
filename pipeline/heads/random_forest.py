"""A random forest."""

from typing import Literal

from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from icebox.pipeline.estimators.preprocessing import PreprocessedHead


def build(
    *,
    trees: int = 200,
    columns_per_split: float | Literal["sqrt", "log2"] = "sqrt",
    min_items_per_leaf: int = 1,
    depth: int | None = None,
    scale: Literal["each", "overall", "l2", "none"] = "none",
    pca: int | float | None = None,
    seed: int = 0,
    task: Literal["classification", "regression"] = "classification",
) -> PreprocessedHead:
    """`columns_per_split`: how many features, or what share of them, a split may choose from. `depth`: the largest."""
    family = RandomForestClassifier if task == "classification" else RandomForestRegressor
    forest = family(
        n_estimators=trees,
        max_features=columns_per_split,
        min_samples_leaf=min_items_per_leaf,
        max_depth=depth,
        random_state=seed,
        n_jobs=1,  # the fits of a search run in parallel instead
    )
    return PreprocessedHead(forest, scale=scale, pca=pca)
