"""An exponential moving average of a network's weights: steadier from epoch to epoch than the last step's weights, and
often better (Polyak and Juditsky 1992; Tarvainen and Valpola 2017, arXiv 1703.01780).

Not torch's `AveragedModel`, which features/models/gan.py keeps in its weights: it deep-copies the module, and the hooks
of a copied backbone would pool into the original; it forgets the weights before the first step; and it averages counts
(a batch norm's batches) as if they were weights, rounding them down.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MovingAverage:
    """Starts at the module's weights; each `update` keeps the share `decay` of the average."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module, self.decay = module, decay
        self.weights = copy_state(module)

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the module's current weights; integers (counts) are copied."""
        for name, value in self.module.state_dict().items():
            if value.is_floating_point():
                self.weights[name].lerp_(value, 1 - self.decay)
            else:
                self.weights[name].copy_(value)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Context in which the module has the average as its weights."""
        current = copy_state(self.module)
        self.module.load_state_dict(self.weights)
        try:
            yield
        finally:
            self.module.load_state_dict(current)

    def state_dict(self) -> dict[str, Tensor]:
        """The average, by the parameters' names."""
        return self.weights

    def load_state_dict(self, weights: dict[str, Tensor]) -> None:
        """Continue from an average that a checkpoint holds."""
        for name, value in weights.items():
            self.weights[name].copy_(value)


def copy_state(module: nn.Module) -> dict[str, Tensor]:
    """Copies of the module's parameters and buffers, by name."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}
