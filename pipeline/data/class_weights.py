"""How much each class counts in a fit: as often as it occurs, all alike, or as given."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import numpy as np
from annotated_types import Gt

from icebox.features.errors import IceboxError
from icebox.features.plugins import suggestion

ClassWeights = Literal["none", "balanced"] | dict[str | int, Annotated[float, Gt(0)]]
Weigh = Callable[[np.ndarray], np.ndarray | None]  # labels (n,) → the items' weights (n,), or None for all alike


def weigher(given: ClassWeights, classes: Sequence[str], where: str) -> Weigh:
    """A function from labels (n,) to the items' weights (n,), or to None where all count alike.

    A class without a given weight has 1. Raises IceboxError for a class that there is none of.
    """
    if given == "none":
        return lambda labels: None
    if given == "balanced":
        from sklearn.utils.class_weight import compute_sample_weight

        return lambda labels: np.asarray(compute_sample_weight("balanced", labels))
    named = {str(name): weight for name, weight in given.items()}
    for name in named:
        if name not in classes:
            raise IceboxError(f"{where}: no class named '{name}'; {suggestion(name, list(classes))}")
    weights = np.array([named.get(name, 1.0) for name in classes])
    return lambda labels: weights[labels]
