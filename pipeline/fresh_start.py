"""Begin from nothing: a head that has learned nothing yet, and a network that has not either."""

import numpy as np
import torch
from torch import Tensor, nn

STANDARDISED_MIN = 1e-6


class FreshHead(nn.Module):
    """Features standardised, then a linear layer that at first knows only how frequent the classes are."""

    mean: Tensor
    scale: Tensor

    def __init__(self, features: Tensor, targets: np.ndarray, classes: int) -> None:
        """`features` (n, d) of some items of train; `targets` are train's class numbers, or floats to regress."""
        super().__init__()
        self.register_buffer("mean", features.mean(0))
        self.register_buffer("scale", features.std(0).clamp(min=STANDARDISED_MIN))
        self.linear = nn.Linear(features.shape[1], classes)
        nn.init.zeros_(self.linear.weight)
        with torch.no_grad():
            if targets.dtype.kind == "f":
                self.linear.bias.fill_(float(targets.mean()))
            else:
                frequency = np.bincount(targets, minlength=classes) / len(targets)
                self.linear.bias.copy_(torch.from_numpy(np.log(frequency.clip(1e-9))))

    def forward(self, features: Tensor) -> Tensor:
        """(b, d) → scores (b, k)."""
        scores: Tensor = self.linear((features - self.mean) / self.scale)
        return scores


def forget(network: nn.Module, seed: int) -> None:
    """Draw every parameter anew, as torch initialises each kind of layer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in network.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()  # type: ignore[operator]
