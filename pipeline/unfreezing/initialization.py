"""Start without anything learned: a head that has not been fitted, and a network with random weights."""

import numpy as np
import torch
from torch import Tensor, nn

from icebox.pipeline.estimators.classification import set_log_odds

SPREAD_MIN = 1e-6  # a feature with a smaller standard deviation (a dead ReLU's) is not scaled: it may come alive later


class FreshHead(nn.Module):
    """Standardization, then a linear layer that starts with zero weights and the classes' or labels' frequencies in its
    bias."""

    mean: Tensor
    scale: Tensor

    def __init__(self, features: Tensor, targets: np.ndarray, classes: int) -> None:
        """`features` (n, d) of some items of train; `targets` (m,): train's class numbers, or floats to regress; or its
        sets of labels (m, k)."""
        super().__init__()
        self.register_buffer("mean", features.mean(0))
        spread = features.std(0)
        self.register_buffer("scale", torch.where(spread > SPREAD_MIN, spread, torch.ones_like(spread)))
        self.linear = nn.Linear(features.shape[1], classes)
        nn.init.zeros_(self.linear.weight)
        with torch.no_grad():
            if targets.ndim == 2:
                self.linear.bias.copy_(torch.from_numpy(set_log_odds(targets, np.ones(len(targets)))))
            elif targets.dtype.kind == "f":
                self.linear.bias.fill_(float(targets.mean()))
            else:
                frequency = np.bincount(targets, minlength=classes) / len(targets)
                self.linear.bias.copy_(torch.from_numpy(np.log(frequency.clip(1e-9))))

    def forward(self, features: Tensor) -> Tensor:
        """(b, d) → scores (b, k)."""
        scores: Tensor = self.linear((features - self.mean) / self.scale)
        return scores


def reset_parameters(network: nn.Module, seed: int) -> None:
    """Draw random parameters: convolutions for ReLUs (He et al. 2015, arXiv 1502.01852), the rest by torch's defaults.

    Torch's default for convolutions lets the signal fade: behind SqueezeNet's 25, features of different photos differed
    by 7e-9, and nothing could be learned.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in network.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()  # type: ignore[operator]
            if isinstance(module, nn.modules.conv._ConvNd):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
