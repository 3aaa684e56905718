"""Folds inside train, on which candidates are compared where there is no val: each item is scored once, by a head that
was fitted without it and without its group."""

import numpy as np

from icebox.features import stratification
from icebox.features.errors import IceboxError
from icebox.features.manifest.validation import Task
from icebox.pipeline.data.labelled import LabelledSplit


def folds(split: LabelledSplit, k: int, *, task: Task, seed: int) -> list[tuple[LabelledSplit, LabelledSplit]]:
    """k pairs (to fit on, to score on) that cover the split: stratified by class, and no group is on both sides.

    Fewer where there are fewer items (or groups), or a class has (`largest_k`).
    """
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    grouped = has_groups(split)
    if task == "multilabel":
        return folds_of_sets(split, largest_k(split, k, task=task), seed=seed)
    if task == "regression":
        family = GroupKFold if grouped else KFold
    else:
        family = StratifiedGroupKFold if grouped else StratifiedKFold
    splitter = family(largest_k(split, k, task=task), shuffle=True, random_state=seed)
    pairs = splitter.split(split.features, split.labels, split.groups if grouped else None)
    # where groups differ much in size, scikit-learn may leave a fold without any
    return [(split.take(to_fit), split.take(to_score)) for to_fit, to_score in pairs if len(to_fit) and len(to_score)]


def folds_of_sets(split: LabelledSplit, k: int, *, seed: int) -> list[tuple[LabelledSplit, LabelledSplit]]:
    """k pairs (to fit on, to score on) of items with sets of labels, stratified by every label, no group apart."""
    named = [np.flatnonzero(row).astype(str).tolist() for row in split.labels]
    units = stratification.units_of(zip(split.groups.astype(str).tolist(), named, strict=True))
    parts = stratification.divide(units, {str(i): 1 / k for i in range(k)}, seed=seed)
    fold = np.array([int(parts[str(group)]) for group in split.groups])
    pairs = [(np.flatnonzero(fold != i), np.flatnonzero(fold == i)) for i in range(k)]
    return [(split.take(to_fit), split.take(to_score)) for to_fit, to_score in pairs if len(to_fit) and len(to_score)]


def has_groups(split: LabelledSplit) -> bool:
    """Whether some items belong together."""
    return len(np.unique(split.groups)) < len(split)


def largest_k(split: LabelledSplit, k: int, *, task: Task) -> int:
    """k, or fewer: as many as there are items or groups, of each class. Raises IceboxError below two."""
    groups, numbers = np.unique(split.groups, return_inverse=True)
    if task in ("regression", "multilabel"):
        place, fewest = "in train", len(groups)
    else:
        pairs = np.unique(np.stack([split.labels, numbers]), axis=1)
        place, fewest = "of each class", int(np.bincount(pairs[0])[np.unique(pairs[0])].min())
    if fewest < 2:
        units = "groups" if has_groups(split) else "items"
        raise IceboxError(
            f"expected two {units} or more {place} to compare settings by folds, found one; "
            "give the dataset a val split, or more labels"
        )
    return min(k, fewest)
