"""The settings of a head that a search tries: every combination of the lists in its parameters, or some of them."""

import itertools
from typing import Any, Literal

Search = Literal["grid"] | dict[str, int]


def settings(parameters: dict[str, Any], search: Search, *, seed: int) -> list[dict[str, Any]]:
    """All of the grid; of `{random: n}` and `{halving: n}` n of its settings at random, or all where it has no more."""
    if search == "grid":
        return grid(parameters)
    from sklearn.model_selection import ParameterSampler

    (wanted,) = search.values()
    every = grid(parameters)
    if len(every) <= wanted:
        return every
    choices = {name: value if isinstance(value, list) else [value] for name, value in parameters.items()}
    drawn = list(ParameterSampler(choices, wanted, random_state=seed))
    return [setting for setting in every if setting in drawn]  # in the grid's order: among equals its first wins


def grid(parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Every combination of the parameters that are lists. The last one varies fastest."""
    choices = [value if isinstance(value, list) else [value] for value in parameters.values()]
    return [dict(zip(parameters, combination, strict=True)) for combination in itertools.product(*choices)]
