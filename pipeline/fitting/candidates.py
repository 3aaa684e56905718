"""Candidates of a search: combinations of a head's parameters, and the rounds of successive halving.

A parameter that is a list in params.yaml stands for several values.
"""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from icebox.features.manifest.validation import Task
from icebox.pipeline.config.fit import Search
from icebox.pipeline.data.labelled import LabelledSplit

Candidate = dict[str, Any]  # keywords of `build`: one value of each parameter
FACTOR = 3  # 1 candidate in 3 remains from round to round, as in scikit-learn's HalvingGridSearchCV


def generate(parameters: dict[str, Any], search: Search, *, seed: int) -> list[Candidate]:
    """The whole grid; for `{random: n}` and `{halving: n}`, n of its candidates at random, or all if it has no more."""
    all_candidates = grid(parameters)
    if search == "grid":
        return all_candidates
    (n,) = search.values()
    if len(all_candidates) <= n:
        return all_candidates
    from sklearn.model_selection import ParameterSampler

    choices = {name: value if isinstance(value, list) else [value] for name, value in parameters.items()}
    sample = list(ParameterSampler(choices, n, random_state=seed))
    return [each for each in all_candidates if each in sample]  # in the grid's order: among equals its first wins


def grid(parameters: dict[str, Any]) -> list[Candidate]:
    """Every combination of the parameters that are lists. The last one varies fastest."""
    choices = [value if isinstance(value, list) else [value] for value in parameters.values()]
    return [dict(zip(parameters, combination, strict=True)) for combination in itertools.product(*choices)]


def halving_rounds(candidates: int) -> Iterator[tuple[int, float]]:
    """(how many candidates remain, on which share of the items) in each round of successive halving: many candidates on
    few items, the better third of them on three times as many, and so on; the last round uses all items."""
    last = math.floor(math.log(candidates, FACTOR) + 1e-9)
    for i in range(last + 1):
        yield math.ceil(candidates / FACTOR**i), 1 / FACTOR ** (last - i)


def subsample(split: LabelledSplit, share: float, *, task: Task, seed: int) -> LabelledSplit:
    """A share of a split's items, in the classes' proportions, at least 2 a class; nested from round to round."""
    if share >= 1:
        return split
    order = np.random.default_rng(seed).permutation(len(split))
    if task in ("regression", "multilabel"):
        return split.take(np.sort(order[: max(2, round(share * len(split)))]))
    kept = []
    for number in np.unique(split.labels):
        of_class = order[split.labels[order] == number]
        kept.append(of_class[: max(2, round(share * len(of_class)))])
    return split.take(np.sort(np.concatenate(kept)))
