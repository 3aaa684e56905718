"""A running mean of a network's weights: steadier from epoch to epoch than where the last step happened to end, and
often better (Polyak and Juditsky 1992; Tarvainen and Valpola 2017, arXiv 1703.01780)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class RunningMean:
    """Begins at the weights as they are; `update` after every step keeps the share `keep` of it."""

    def __init__(self, module: nn.Module, keep: float) -> None:
        self.module, self.keep = module, keep
        self.weights = copied(module)

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the weights as they are now; numbers that are counted, not learnt, are taken over."""
        for name, value in self.module.state_dict().items():
            if value.is_floating_point():
                self.weights[name].lerp_(value, 1 - self.keep)
            else:
                self.weights[name].copy_(value)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """While this lasts, the module has the mean for its weights."""
        own = copied(self.module)
        self.module.load_state_dict(self.weights)
        try:
            yield
        finally:
            self.module.load_state_dict(own)

    def load(self, weights: dict[str, Tensor]) -> None:
        """Go on from a mean that was kept."""
        for name, value in weights.items():
            self.weights[name].copy_(value)


def copied(module: nn.Module) -> dict[str, Tensor]:
    """The module's weights and buffers by name, apart from it."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}
