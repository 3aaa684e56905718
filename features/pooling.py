"""From what a layer gives per position to one vector an item.

Letters: b batch, d features, h height, w width, t tokens.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from features.errors import IceboxError

SPATIAL: dict[str, Callable[[Tensor], Tensor]] = {  # (b, d, h, w) → (b, …)
    "avg": lambda x: x.mean(dim=(2, 3)),
    "max": lambda x: x.amax(dim=(2, 3)),
    "flatten": lambda x: x.flatten(1),
}
TOKENS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {  # (b, t, d), mask (b, t) of 0 and 1 → (b, d)
    "cls": lambda x, mask: x[:, 0],
    "mean": lambda x, mask: (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1),
    "max": lambda x, mask: x.masked_fill(mask[..., None] == 0, float("-inf")).amax(1),
}


def pool(x: Tensor, how: str, mask: Tensor | None = None) -> Tensor:
    """Pool a layer's output: (b, d) as it is, (b, d, h, w) spatially, (b, t, d) over the tokens that mask keeps.

    Raises IceboxError where the pooling does not fit the output's shape.
    """
    if x.ndim == 2 and how in ("", "flatten"):
        return x
    if x.ndim == 4 and how in SPATIAL:
        return SPATIAL[how](x)
    if x.ndim == 3 and how in TOKENS:
        full = torch.ones(x.shape[:2], dtype=x.dtype, device=x.device)
        return TOKENS[how](x, full if mask is None else mask.to(x.dtype))
    fitting = {2: ["no pooling"], 3: sorted(TOKENS), 4: sorted(SPATIAL)}.get(x.ndim, ["none"])
    raise IceboxError(
        f"pooling '{how}' does not fit an output of shape {tuple(x.shape)}; fitting: {', '.join(fitting)}"
    )
