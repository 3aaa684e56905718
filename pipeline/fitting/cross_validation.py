"""Where there is no val, settings are compared by folds inside train: each item is judged once, by a head fitted
without it and without its group."""

import numpy as np

from icebox.features.errors import IceboxError
from icebox.features.manifest.validation import Task
from icebox.pipeline.data.labelled import LabelledSplit


def folds(part: LabelledSplit, k: int, *, task: Task, seed: int) -> list[tuple[LabelledSplit, LabelledSplit]]:
    """k pairs (fitted on, judged on) that cover the part: stratified by class, and no group is on both sides.

    Fewer where a class has fewer items (or groups) than k. Raises IceboxError where one has a single item.
    """
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    grouped = len(np.unique(part.groups)) < len(part)
    if task == "regression":
        family = GroupKFold if grouped else KFold
    else:
        family, k = StratifiedGroupKFold if grouped else StratifiedKFold, at_most(part, k)
    splitter = family(k, shuffle=True, random_state=seed)
    pairs = splitter.split(part.features, part.labels, part.groups if grouped else None)
    return [(part.take(fitted_on), part.take(judged_on)) for fitted_on, judged_on in pairs]


def at_most(part: LabelledSplit, k: int) -> int:
    """k, or as many as the rarest class has items or groups."""
    pairs = np.unique(np.stack([part.labels, np.unique(part.groups, return_inverse=True)[1]]), axis=1)
    rarest = int(np.bincount(pairs[0])[np.unique(pairs[0])].min())
    if rarest < 2:
        raise IceboxError(
            "expected two items (of two groups) of each class or more to compare settings by folds, found one; "
            "give the dataset a val split, or more labels"
        )
    return min(k, rarest)
