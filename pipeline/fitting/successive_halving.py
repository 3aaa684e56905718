"""Successive halving: many settings on few items, the better third of them on three times as many, and so on."""

import math
from collections.abc import Iterator

import numpy as np

from icebox.features.manifest.validation import Task
from icebox.pipeline.data.labelled import LabelledSplit

FACTOR = 3  # settings stay 1 in 3 from round to round, as scikit-learn's HalvingGridSearchCV has it


def rounds(settings: int) -> Iterator[tuple[int, float]]:
    """(how many settings are left, on which share of the items) of each round; the last one sees all items."""
    last = math.floor(math.log(settings, FACTOR) + 1e-9)
    for i in range(last + 1):
        yield math.ceil(settings / FACTOR**i), 1 / FACTOR ** (last - i)


def share_of(part: LabelledSplit, share: float, *, task: Task, seed: int) -> LabelledSplit:
    """That share of a part's items, in the classes' proportions, at least 2 a class; nested from round to round."""
    if share >= 1:
        return part
    order = np.random.default_rng(seed).permutation(len(part))
    if task == "regression":
        return part.take(np.sort(order[: max(2, round(share * len(part)))]))
    kept = [
        of[: max(2, round(share * len(of)))]
        for number in np.unique(part.labels)
        for of in [order[part.labels[order] == number]]
    ]
    return part.take(np.sort(np.concatenate(kept)))
