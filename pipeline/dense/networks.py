"""The torch modules of heads on whole maps.

Letters: b batch, d features of a cell, c width, k classes, h height, w width in cells.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn


class PixelNetwork(nn.Module):
    """Maps (b, d, h, w) → logits (b, k, h, w): a projection of each cell to `width`, `layers` 3×3 convolutions with
    dilations 1, 2, 4 …, and scores of the projection and the last of them side by side."""

    def __init__(self, depth: int, *, width: int, layers: int, dropout: float, classes: int) -> None:
        super().__init__()
        self.projection = nn.Sequential(*convolution(depth, width, 1))
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


class Projected(nn.Module):
    """Cells less their mean, times a matrix; both are fixed before training."""

    mean: Tensor
    matrix: Tensor

    def __init__(self, mean: np.ndarray, matrix: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(np.asarray(mean, np.float32))[:, None, None])
        self.register_buffer("matrix", torch.from_numpy(np.ascontiguousarray(matrix.T, np.float32))[:, :, None, None])

    def forward(self, maps: Tensor) -> Tensor:
        """(b, d, h, w) → (b, c, h, w)."""
        return nn.functional.conv2d(maps - self.mean, self.matrix)


class BoxNetwork(nn.Module):
    """Maps (b, c, h, w) → logits of the heat maps (b, k, h, w), and how far each cell's box reaches to the left, up,
    right and down of its centre, in cells (b, 4, h, w)."""

    START = 0.1  # the height of all heat maps before training
    SIDE = 4.0  # of all boxes before training, in cells to each side
    GROUPS = 8

    def __init__(self, depth: int, *, width: int, layers: int, dropout: float, classes: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout2d(dropout)
        context: list[nn.Module] = [nn.Conv2d(depth, width, 1), *self._normalized(width)]
        for i in range(layers):
            context += [nn.Conv2d(width, width, 3, padding=2**i, dilation=2**i), *self._normalized(width)]
        self.context = nn.Sequential(*context)
        self.heat, self.sides = (nn.Conv2d(width, depth, 3, padding=1) for depth in (classes, 4))
        with torch.no_grad():
            for layer, bias in (
                (self.heat, math.log(self.START / (1 - self.START))),
                (self.sides, math.log(self.SIDE)),
            ):
                layer.weight.normal_(std=0.01)
                layer.bias.fill_(bias)  # type: ignore[union-attr]

    def _normalized(self, width: int) -> list[nn.Module]:
        return [nn.GroupNorm(math.gcd(self.GROUPS, width), width), nn.ReLU()]

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Heat and sides of each cell."""
        cells = self.context(self.dropout(maps))
        return self.heat(cells).float(), self.sides(cells).float().clamp(max=7).exp()


def box_corners(sides: Tensor) -> Tensor:
    """Sides (b, 4, h, w) → the corners of each cell's box, in cells of the map: left, upper, right, lower."""
    h, w = sides.shape[2:]
    x = torch.arange(w, device=sides.device) + 0.5
    y = torch.arange(h, device=sides.device)[:, None] + 0.5
    return torch.stack([x - sides[:, 0], y - sides[:, 1], x + sides[:, 2], y + sides[:, 3]], dim=1)


def focal_loss(heat: Tensor, targets: Tensor) -> Tensor:
    """CornerNet's focal loss of heat maps' logits (b, k, h, w), per object (Law and Deng 2018)."""
    p = heat.sigmoid().clamp(1e-4, 1 - 1e-4)
    peaks = targets == 1
    losses = torch.where(peaks, (1 - p) ** 2 * p.log(), (1 - targets) ** 4 * p**2 * (1 - p).log())
    return -losses.sum() / peaks.sum().clamp(min=1)


def overlap_loss(corners: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """1 − GIoU of each cell's box (b, 4, h, w) with the one that it learns, weighted (b, h, w) (Rezatofighi et al.
    2019)."""
    common = (torch.minimum(corners[:, 2:], targets[:, 2:]) - torch.maximum(corners[:, :2], targets[:, :2])).clamp(
        min=0
    )
    around = torch.maximum(corners[:, 2:], targets[:, 2:]) - torch.minimum(corners[:, :2], targets[:, :2])
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(dim=1) for boxes in (corners, targets)]
    intersection, hull = common.clamp(min=0).prod(dim=1), around.prod(dim=1).clamp(min=1e-6)
    union = (areas[0] + areas[1] - intersection).clamp(min=1e-6)
    giou = intersection / union - (hull - union) / hull
    return ((1 - giou) * weights).sum() / weights.sum().clamp(min=1e-6)
