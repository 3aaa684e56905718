"""From what a layer gives per position to one vector an item; or, by `tokens`, one vector a token.

Letters: b batch, d features, h height, w width, t tokens, k cells a side.

Four axes are taken as (b, d, h, w). Swin's stages give (b, h, w, d), which no shape can tell apart: ask for its layer
`permute` instead, which turns the axes round. torchvision's ConvNeXt turns them itself.
"""

import re
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from icebox.features.errors import IceboxError

SPATIAL: dict[str, Callable[[Tensor], Tensor]] = {  # (b, d, h, w) → (b, …)
    "avg": lambda x: x.mean(dim=(2, 3)),
    "mean": lambda x: x.mean(dim=(2, 3)),
    "max": lambda x: x.amax(dim=(2, 3)),
    "flatten": lambda x: x.flatten(1),
}
TOKENS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {  # (b, t, d), mask (b, t) of 0 and 1 → (b, d)
    "cls": lambda x, mask: x[:, 0],
    "final": lambda x, mask: x[torch.arange(len(x), device=x.device), last_of(mask)],
    "avg": lambda x, mask: masked_mean(x, mask),
    "mean": lambda x, mask: masked_mean(x, mask),
    "max": lambda x, mask: x.masked_fill(mask[..., None] == 0, float("-inf")).amax(1),
}
EACH = "tokens"  # no pooling: every token that counts keeps its own vector
GRID = re.compile(r"grid-([1-9]\d*)")
FITTING = {2: ["no pooling"], 3: sorted([*TOKENS, EACH]), 4: sorted([*SPATIAL, "grid-K"])}  # by number of axes


def pool(x: Tensor, how: str, mask: Tensor | None = None) -> Tensor:
    """Pool a layer's output: (b, d) as it is, (b, d, h, w) spatially, (b, t, d) over the tokens that mask keeps.

    `tokens` leaves (b, t, d) as it is.

    Raises IceboxError where the pooling does not fit the output's shape.
    """
    if x.ndim == 2 and how in ("", "flatten"):
        return x
    if x.ndim == 4 and how in SPATIAL:
        return SPATIAL[how](x)
    if x.ndim == 4 and (grid := GRID.fullmatch(how)):
        return averaged_cells(x, int(grid[1]))
    if x.ndim == 3 and how == EACH:
        return x
    if x.ndim == 3 and how in TOKENS:
        full = torch.ones(x.shape[:2], dtype=x.dtype, device=x.device)
        return TOKENS[how](x, full if mask is None else mask.to(x.dtype))
    raise IceboxError(
        f"pooling '{how}' does not fit an output of shape {tuple(x.shape)}; "
        f"fitting: {', '.join(FITTING.get(x.ndim, ['none']))}"
    )


def last_of(mask: Tensor) -> Tensor:
    """(b, t) → (b,): the last position that counts."""
    return (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).argmax(1)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """(b, t, d) → (b, d), over the tokens that count."""
    return (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


def averaged_cells(x: Tensor, k: int) -> Tensor:
    """(b, d, h, w) → (b, d·k·k): the mean of each cell of a k×k grid, for each feature row by row."""
    return F.adaptive_avg_pool2d(x, k).flatten(1)
