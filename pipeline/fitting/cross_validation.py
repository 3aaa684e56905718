"""Folds inside train, on which candidates are compared where there is no val: each item is scored once, by a head that
was fitted without it and without its group."""

import numpy as np

from icebox.features.errors import IceboxError
from icebox.features.manifest.validation import Task
from icebox.pipeline.data.labelled import LabelledSplit


def folds(split: LabelledSplit, k: int, *, task: Task, seed: int) -> list[tuple[LabelledSplit, LabelledSplit]]:
    """k pairs (to fit on, to score on) that cover the split: stratified by class, and no group is on both sides.

    Fewer where a class has fewer items (or groups) than k. Raises IceboxError where one has a single item.
    """
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    grouped = len(np.unique(split.groups)) < len(split)
    if task == "regression":
        family = GroupKFold if grouped else KFold
    else:
        family, k = StratifiedGroupKFold if grouped else StratifiedKFold, largest_k(split, k)
    splitter = family(k, shuffle=True, random_state=seed)
    pairs = splitter.split(split.features, split.labels, split.groups if grouped else None)
    return [(split.take(to_fit), split.take(to_score)) for to_fit, to_score in pairs]


def largest_k(split: LabelledSplit, k: int) -> int:
    """k, or fewer: as many as the rarest class has items or groups."""
    pairs = np.unique(np.stack([split.labels, np.unique(split.groups, return_inverse=True)[1]]), axis=1)
    rarest = int(np.bincount(pairs[0])[np.unique(pairs[0])].min())
    if rarest < 2:
        raise IceboxError(
            "expected two items (of two groups) of each class or more to compare settings by folds, found one; "
            "give the dataset a val split, or more labels"
        )
    return min(k, rarest)
