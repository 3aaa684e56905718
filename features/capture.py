"""Run a frozen network once and take any of its layers' outputs, pooled.

An output is named `LAYER` or `LAYER:POOLING`. `last` is what the network itself returns; any other layer is named
as in `network.named_modules()`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from features.errors import IceboxError
from features.plugins import suggestion
from features.pooling import pool

LAST = "last"


class Capture:
    """A network in eval mode without gradients, and the (layer, pooling) pairs wanted from each forward pass.

    Both are needed to freeze: batch norm in training mode makes a feature depend on its batch-mates.
    """

    def __init__(self, network: nn.Module, outputs: Sequence[str]) -> None:
        self.network = network.eval().requires_grad_(False)
        self.wanted = [(name, *split_output(name)) for name in outputs]
        self._seen: dict[str, Tensor] = {}
        modules = dict(network.named_modules())
        for layer in {layer for _, layer, _ in self.wanted} - {LAST}:
            if layer not in modules:
                raise IceboxError(f"outputs: no layer named '{layer}'; {suggestion(layer, [m for m in modules if m])}")
            modules[layer].register_forward_hook(self._keep(layer))

    @torch.inference_mode()
    def __call__(self, *args: Any, mask: Tensor | None = None, **kwargs: Any) -> dict[str, np.ndarray]:
        """One forward pass → {output: float32 (b, …)}. `mask` (b, t) says which tokens count."""
        self._seen[LAST] = first_tensor(self.network(*args, **kwargs))
        pooled = {name: pool(self._seen[layer], pooling, mask) for name, layer, pooling in self.wanted}
        self._seen.clear()
        return {name: value.float().cpu().numpy() for name, value in pooled.items()}

    def _keep(self, layer: str) -> Any:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            self._seen[layer] = first_tensor(output)

        return hook


def split_output(name: str) -> tuple[str, str]:
    """`layer4.1:avg` → ("layer4.1", "avg"); without a pooling the second part is empty."""
    layer, _, pooling = name.partition(":")
    return layer, pooling


def first_tensor(output: Any) -> Tensor:
    """Layers return a tensor, a tuple that starts with one, or a transformers ModelOutput; all index alike."""
    return output if isinstance(output, Tensor) else output[0]
