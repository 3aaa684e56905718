"""Item weights by class: as often as a class occurs, all alike, between the two, or numbers given by name."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from annotated_types import Gt

from icebox.features.errors import IceboxError, suggestion

ClassWeights = Literal["none", "balanced", "sqrt"] | dict[str | int, Annotated[float, Gt(0)]]
SampleWeighter = Callable[[np.ndarray], np.ndarray | None]  # labels (n,) → item weights (n,), or None for all alike


def sample_weighter(class_weights: ClassWeights, classes: Sequence[str], where: str) -> SampleWeighter:
    """A function from labels (n,) to item weights (n,), or to None where all items count alike.

    A class without a weight of its own has 1. Raises IceboxError for the name of a class that does not exist.
    """
    if class_weights == "none":
        return lambda labels: None
    if class_weights == "balanced":
        from sklearn.utils.class_weight import compute_sample_weight

        return lambda labels: np.asarray(compute_sample_weight("balanced", labels))
    if class_weights == "sqrt":
        return lambda labels: factors("sqrt", classes, np.bincount(labels, minlength=len(classes)), where)[labels]
    weights = factors(class_weights, classes, np.ones(len(classes)), where)
    return lambda labels: weights[labels]


def factors(class_weights: ClassWeights, classes: Sequence[str], counts: np.ndarray, where: str) -> np.ndarray:
    """The weight (k,) of each class, of which there are `counts` (k,). `balanced` gives all classes one sum; `sqrt` are
    the square roots of those weights, brought to mean 1 over the items.

    Raises IceboxError for the name of a class that does not exist.
    """
    if class_weights == "none":
        return np.ones(len(classes))
    if class_weights in ("balanced", "sqrt"):
        present = counts > 0
        weights: np.ndarray = np.where(present, counts.sum() / (present.sum() * np.where(present, counts, 1)), 0.0)
        if class_weights == "sqrt":
            weights = np.sqrt(weights)
            weights *= counts.sum() / (weights * counts).sum()
        return weights
    assert isinstance(class_weights, dict)
    return named_weights(class_weights, classes, where)


def named_weights(by_name: Mapping[str | int, float], classes: Sequence[str], where: str) -> np.ndarray:
    """The weight (k,) of each class; 1 of one that is not named."""
    weights = {str(name): weight for name, weight in by_name.items()}
    for name in weights:
        if name not in classes:
            raise IceboxError(f"{where}: no class named '{name}'; {suggestion(name, list(classes))}")
    return np.array([weights.get(name, 1.0) for name in classes])
