"""Learning rates as pure functions of the step, so that a resumed training needs no state of a scheduler."""

import math

from torch.optim import Optimizer


def warm_up_cosine(done: float, warm_up: float) -> float:
    """The share of the peak learning rate once the share `done` (0..1) of all steps is reached.

    Rises linearly from 0 to 1 during the first `warm_up` (0..1) of the steps, then falls to 0 along a cosine.
    """
    if done < warm_up:
        return done / warm_up
    return (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up))) / 2 if warm_up < 1 else 1.0


def set_learning_rate(optimizer: Optimizer, learning_rate: float) -> None:
    """Set the rate of all parameter groups."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
