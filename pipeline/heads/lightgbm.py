"""Gradient-boosted trees."""

from sklearn.base import ClassifierMixin


def build(
    *,
    trees: int = 100,
    leaves: int = 15,
    learning_rate: float = 0.1,
    columns_per_tree: float = 0.2,
    max_bin: int = 63,
    min_items_per_leaf: int = 5,
    balanced: bool = False,
    seed: int = 0,
) -> ClassifierMixin:
    """`columns_per_tree`: the share of features each tree may look at; with few bins it makes dense features quick
    (against the library's defaults, 50,000 × 512: 15–30 s instead of 104–657 s, within 0.3 points)."""
    from lightgbm import LGBMClassifier

    return LGBMClassifier(
        n_estimators=trees,
        num_leaves=leaves,
        learning_rate=learning_rate,
        colsample_bytree=columns_per_tree,
        max_bin=max_bin,
        min_child_samples=min_items_per_leaf,
        class_weight="balanced" if balanced else None,
        random_state=seed,
        n_jobs=1,  # fits run side by side instead
        deterministic=True,
        force_row_wise=True,
        verbose=-1,
    )
