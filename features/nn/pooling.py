"""Pool a layer's outputs at all positions into one vector per item; or keep one per token, or per position (`map`).

Letters: b batch, d features, h height, w width, t tokens, k cells per side.

Four axes are read as (b, d, h, w). Swin's stages return (b, h, w, d), which can't be told from the shape: ask for its
layer `permute` instead, which transposes the axes. torchvision's ConvNeXt transposes them itself.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from icebox.features.errors import IceboxError
from icebox.features.nn.output_names import GRID, MAP

SPATIAL_POOLINGS: dict[str, Callable[[Tensor], Tensor]] = {  # (b, d, h, w) → (b, …)
    "avg": lambda x: x.mean(dim=(2, 3)),
    "mean": lambda x: x.mean(dim=(2, 3)),
    "max": lambda x: x.amax(dim=(2, 3)),
    "flatten": lambda x: x.flatten(1),
}
TOKEN_POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {  # (b, t, d), mask (b, t) of 0 and 1 → (b, d)
    "cls": lambda x, mask: x[:, 0],
    "final": lambda x, mask: x[torch.arange(x.shape[0], device=x.device), last_position(mask)],
    "avg": lambda x, mask: masked_mean(x, mask),
    "mean": lambda x, mask: masked_mean(x, mask),
    "max": lambda x, mask: x.masked_fill(mask[..., None] == 0, float("-inf")).amax(1),
}
EACH_TOKEN = "tokens"  # no pooling: every token that is not padding keeps its own vector
POOLINGS_BY_AXES = {  # number of axes → names of poolings
    2: ["no pooling"],
    3: sorted([*TOKEN_POOLINGS, EACH_TOKEN]),
    4: sorted([*SPATIAL_POOLINGS, "grid-K", "map", "map-HxW"]),
}


PREFIX_MAX = 8  # tokens before the patches: a class token, registers


def pool(x: Tensor, how: str, mask: Tensor | None = None, frame: tuple[int, int] | None = None) -> Tensor:
    """Pool a layer's output: (b, d) stays as it is, (b, d, h, w) is pooled over h and w, (b, t, d) over the tokens.

    `mask` (b, t) is 0 for tokens to leave out. With `tokens` (b, t, d) stays as it is; with `map` positions keep their
    vectors, (b, h, w, d), of tokens those of the patches of a picture of `frame` (height, width). Raises IceboxError
    where the pooling does not fit the output's shape.
    """
    if mask is not None and x.ndim == 3:
        mask = fitting_mask(mask, x)
    if (size := MAP.fullmatch(how)) and (x.ndim == 4 or (x.ndim == 3 and frame)):
        positions = x if x.ndim == 4 else patch_grid(without_prefix(x, mask), frame or (1, 1))
        if size[1]:
            positions = F.adaptive_avg_pool2d(positions, (int(size[1]), int(size[2])))
        return positions.permute(0, 2, 3, 1)
    if x.ndim == 2 and how in ("", "flatten"):
        return x
    if x.ndim == 4 and how in SPATIAL_POOLINGS:
        return SPATIAL_POOLINGS[how](x)
    if x.ndim == 4 and (grid := GRID.fullmatch(how)):
        return grid_average(x, int(grid[1]))
    if x.ndim == 3 and how == EACH_TOKEN:
        return x
    if x.ndim == 3 and how in TOKEN_POOLINGS:
        full = torch.ones(x.shape[:2], dtype=x.dtype, device=x.device)
        return TOKEN_POOLINGS[how](x, full if mask is None else mask.to(x.dtype))
    raise IceboxError(
        f"pooling '{how}' does not fit an output of shape {tuple(x.shape)}; "
        f"fitting: {', '.join(POOLINGS_BY_AXES.get(x.ndim, ['none']))}"
        + ("; K is at most 99" if how.startswith("grid-") else "")
        + ("; H and W are 1 to 999" if how.startswith("map-") else "")
    )


def last_position(mask: Tensor) -> Tensor:
    """(b, t) → (b,): the last position with mask 1."""
    return (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).argmax(1)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """(b, t, d) → (b, d): the mean over tokens with mask 1."""
    return (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


def grid_average(x: Tensor, k: int) -> Tensor:
    """(b, d, h, w) → (b, d·k·k): the mean in each cell of a k×k grid; per feature, the cells row by row."""
    return F.adaptive_avg_pool2d(x, k).flatten(1)


def fitting_mask(mask: Tensor, x: Tensor) -> Tensor | None:
    """The mask of the network's tokens as that of a layer's (b, t, d); None where that has just those that count.

    Raises IceboxError for a layer of other tokens.
    """
    if mask.shape == x.shape[:2]:
        return mask
    if len(mask) == len(x) and bool((mask.sum(1) == x.shape[1]).all()):
        return None
    raise IceboxError(f"outputs: a layer of {x.shape[1]} tokens can't be pooled: the network has {mask.shape[1]}")


def without_prefix(x: Tensor, mask: Tensor | None) -> Tensor:
    """Tokens (b, t, d) less those before the patches, where the mask (b, t) says how many these are."""
    return x if mask is None else x[:, int((mask[0] == 0).sum()) :]


def patch_grid(x: Tensor, frame: tuple[int, int]) -> Tensor:
    """Tokens (b, t, d) of a picture of `frame` (height, width) → its patches (b, d, h, w).

    Tokens before the patches are left out: the fewest with which the rest is a grid of the picture's proportions.
    """
    t = x.shape[1]
    before = tokens_before_patches(t, frame)
    if before is not None:
        h, w = grid_of(t - before, frame)
        return x[:, before:].transpose(1, 2).reshape(x.shape[0], -1, h, w)
    raise IceboxError(
        f"pooling 'map' does not fit an output of {t} tokens: less 0 to {PREFIX_MAX} before the patches they are no "
        f"grid of the proportions of {frame[0]}×{frame[1]} pixels; take a size that the network's patches divide"
    )


def tokens_before_patches(t: int, frame: tuple[int, int]) -> int | None:
    """The fewest of `t` tokens without which the rest is a grid of a picture's proportions; None where none is."""
    for before in range(min(PREFIX_MAX, t - 1) + 1):
        h, w = grid_of(t - before, frame)
        if w and h * w == t - before and round(h * frame[1] / frame[0]) == w:
            return before
    return None


def grid_of(patches: int, frame: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the grid that so many patches of a picture of `frame` (height, width) would be."""
    w = round((patches * frame[1] / frame[0]) ** 0.5)
    return patches // max(w, 1), w


def is_grid(height: int, width: int, frame: tuple[int, int]) -> bool:
    """Whether these sides are in a picture's proportions, up to the rounding of each side."""
    return abs(height * frame[1] / frame[0] - width) < 1 or abs(width * frame[0] / frame[1] - height) < 1
