"""Item weights by class: as often as a class occurs, all alike, or numbers given by name."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import numpy as np
from annotated_types import Gt

from icebox.features.errors import IceboxError, suggestion

ClassWeights = Literal["none", "balanced"] | dict[str | int, Annotated[float, Gt(0)]]
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
    by_name = {str(name): weight for name, weight in class_weights.items()}
    for name in by_name:
        if name not in classes:
            raise IceboxError(f"{where}: no class named '{name}'; {suggestion(name, list(classes))}")
    weights = np.array([by_name.get(name, 1.0) for name in classes])
    return lambda labels: weights[labels]
