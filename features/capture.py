"""Run a frozen network once and take any of its layers' outputs, pooled.

An output is named `LAYER` or `LAYER:POOLING`. `last` is what the network itself returns; any other layer is named
as in `network.named_modules()`.
"""

import contextlib
from collections.abc import Callable, Sequence
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

    def __init__(self, network: nn.Module, outputs: Sequence[str], *, precision: str = "float32") -> None:
        self.dtype: torch.dtype = getattr(torch, precision)
        self.network = network.eval().requires_grad_(False).to(self.dtype)
        self.outputs = tuple(outputs)
        self._wanted: dict[str, list[tuple[str, str]]] = {}  # layer → its (output, pooling) pairs
        for name in outputs:
            layer, pooling = split_output(name)
            self._wanted.setdefault(layer, []).append((name, pooling))
        self._pooled: dict[str, Tensor] = {}
        self._mask: Tensor | None = None
        self._compiled: tuple[Callable[[Tensor], Any], int] | None = None  # and the one batch size it is for
        modules = dict(network.named_modules())
        for layer in self._wanted.keys() - {LAST}:
            if layer not in modules:
                raise IceboxError(f"outputs: no layer named '{layer}'; {suggestion(layer, [m for m in modules if m])}")
            modules[layer].register_forward_hook(self._keep(layer))
        if precision == "float32":  # cuDNN would round convolutions to 10 bits (TF32) unasked
            torch.backends.cudnn.allow_tf32 = False

    @torch.inference_mode()
    def __call__(self, *args: Tensor, mask: Tensor | None = None, **kwargs: Tensor) -> dict[str, np.ndarray]:
        """One forward pass → {output: float32 (b, …)}. `mask` (b, t) says which tokens count."""
        self._pooled.clear()
        self._mask = mask
        cast = [arg.to(self.dtype) if arg.is_floating_point() else arg for arg in args]
        if self._compiled:
            self._pool(LAST, self._run_compiled(*cast))
            return {name: self._pooled[name].cpu().numpy() for name in self.outputs}
        with contextlib.suppress(AllSeen):
            returned = self.network(*cast, **kwargs)
            if LAST in self._wanted:
                self._pool(LAST, returned)
        return {name: self._pooled[name].cpu().numpy() for name in self.outputs}

    def compile(self, batch_size: int | None) -> bool:
        """Compile for one batch size, at the next call; None goes back. False, undone, where layers are hooked."""
        self._compiled = None
        if batch_size is None or self._wanted.keys() != {LAST}:
            return False
        self._compiled = torch.compile(self.network, dynamic=False, options={"freezing": True}), batch_size
        return True

    def _run_compiled(self, batch: Tensor) -> Tensor:
        """A short batch is padded: another shape would be compiled anew."""
        assert self._compiled is not None
        network, size = self._compiled
        short = size - len(batch)
        padded = torch.cat([batch, batch[-1:].expand(short, *batch.shape[1:])]) if short > 0 else batch
        if batch.is_contiguous(memory_format=torch.channels_last) and batch.ndim == 4:
            padded = padded.contiguous(memory_format=torch.channels_last)
        return first_tensor(network(padded))[: len(batch)]

    def _keep(self, layer: str) -> Any:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            self._pool(layer, output)
            if len(self._pooled) == len(self.outputs):
                raise AllSeen  # what lies deeper than the deepest layer asked for is not computed

        return hook

    def _pool(self, layer: str, output: Any) -> None:
        """Pool and copy at once: a ReLU that works in place may be about to overwrite the layer's output.

        In float32, since an average of many rounded numbers need not be rounded each time.
        """
        values = first_tensor(output).float()
        for name, pooling in self._wanted[layer]:
            self._pooled[name] = pool(values, pooling, self._mask).clone()


class AllSeen(Exception):
    """Every layer asked for has been seen."""


def split_output(name: str) -> tuple[str, str]:
    """`layer4.1:avg` → ("layer4.1", "avg"); without a pooling the second part is empty."""
    layer, _, pooling = name.partition(":")
    return layer, pooling


def first_tensor(output: Any) -> Tensor:
    """Layers return a tensor, a tuple that starts with one, or a transformers ModelOutput; all index alike."""
    return output if isinstance(output, Tensor) else output[0]
