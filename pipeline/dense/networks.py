"""The torch modules of heads on whole maps.

Letters: b batch, d features of a cell, c width, k classes, h height, w width in cells.
"""

import numpy as np
import torch
from torch import Tensor, nn


class Standardized(nn.Module):
    """Features less their mean, divided by their deviation; both are fixed before training."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: np.ndarray, deviation: np.ndarray) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("deviation", deviation)):
            self.register_buffer(name, torch.from_numpy(np.asarray(values, np.float32))[:, None, None])

    def forward(self, maps: Tensor) -> Tensor:
        """(b, d, h, w) → the same shape."""
        return (maps - self.mean) / self.deviation


class PixelNetwork(nn.Module):
    """Maps (b, d, h, w) → logits (b, k, h, w): a projection of each cell to `width`, `layers` 3×3 convolutions with
    dilations 1, 2, 4 …, and scores of the projection and the last of them side by side."""

    def __init__(
        self, mean: np.ndarray, deviation: np.ndarray, *, width: int, layers: int, dropout: float, classes: int
    ) -> None:
        super().__init__()
        self.projection = nn.Sequential(Standardized(mean, deviation), *convolution(len(mean), width, 1))
        self.context = nn.Sequential(*(layer for i in range(layers) for layer in convolution(width, width, 3, 2**i)))
        self.dropout = nn.Dropout2d(dropout)
        self.scores = nn.Conv2d(2 * width, classes, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Logits of each cell."""
        cells = self.projection(maps)  # (b, c, h, w)
        both = torch.cat([cells, self.context(cells)], dim=1)  # (b, 2c, h, w)
        logits: Tensor = self.scores(self.dropout(both))
        return logits


def convolution(depth: int, width: int, size: int, dilation: int = 1) -> list[nn.Module]:
    """A convolution that keeps the map's size, batch normalization and ReLU."""
    padding = dilation * (size // 2)
    layer = nn.Conv2d(depth, width, size, padding=padding, dilation=dilation, bias=False)
    return [layer, nn.BatchNorm2d(width), nn.ReLU()]
