"""Run a frozen network once and take any of its layers' outputs, pooled.

An output is named `LAYER` or `LAYER:POOLING`. `last` is what the network itself returns; any other layer is named
as in `network.named_modules()`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from icebox.features.errors import IceboxError, suggestion
from icebox.features.nn.fusion import folded
from icebox.features.nn.pooling import EACH, pool
from icebox.features.nn.transfer import coming
from icebox.features.ragged import Ragged, Values, offsets_of

LAST = "last"


@dataclass
class Inputs:
    """What a network is called with for b items; `mask` (b, t) says which tokens count."""

    args: tuple[Tensor, ...] = ()
    kwargs: Mapping[str, Tensor] = field(default_factory=dict)
    mask: Tensor | None = None


class Capture:
    """A network in eval mode without gradients, and the (layer, pooling) pairs wanted from each forward pass.

    Both are needed to freeze: batch norm in training mode makes a feature depend on its batch-mates. What is called is
    `folded`, the network with its batch norms folded away; `network` itself stays as it was loaded.
    """

    def __init__(self, network: nn.Module, outputs: Sequence[str], *, precision: str = "float32") -> None:
        self.dtype: torch.dtype = getattr(torch, precision)
        self.outputs = tuple(outputs)
        self._wanted: dict[str, list[tuple[str, str]]] = {}  # layer → its (output, pooling) pairs
        for name in outputs:
            layer, pooling = split_output(name)
            self._wanted.setdefault(layer, []).append((name, pooling))
        self._pooled: dict[str, Tensor] = {}
        self._mask: Tensor | None = None
        self._compiled: tuple[Callable[[Tensor], dict[str, Tensor]], int] | None = (
            None  # and the one batch size it is for
        )
        modules = dict(network.named_modules())
        for layer in self._wanted.keys() - {LAST}:
            if layer not in modules:
                raise IceboxError(f"outputs: no layer named '{layer}'; {suggestion(layer, [m for m in modules if m])}")
        frozen = network.eval().requires_grad_(False)
        self.folded = folded(frozen, keep=self._wanted).to(self.dtype)  # before it is rounded
        self.network = frozen.to(self.dtype)
        for run in {self.network, self.folded}:
            for layer in self._wanted.keys() - {LAST}:
                run.get_submodule(layer).register_forward_hook(self._keep(layer))
        if precision == "float32":  # cuDNN would round convolutions to 10 bits (TF32) unasked
            torch.backends.cudnn.allow_tf32 = False

    def __call__(self, inputs: Inputs) -> dict[str, Values]:
        """One forward pass → {output: float32 (b, …)}; of pooling `tokens` b arrays (t, d), without what is masked."""
        return self.begin(inputs)()

    @torch.inference_mode()
    def begin(self, inputs: Inputs) -> Callable[[], dict[str, Values]]:
        """Starts one forward pass; what is returned waits for it and gives its features."""
        found = self._run(self.folded, inputs)
        each_token = [name for name in found if split_output(name)[1] == EACH]
        pooled = coming({name: values for name, values in found.items() if name not in each_token})

        def features() -> dict[str, Values]:
            here = pooled()
            return {
                name: each(found[name], inputs.mask) if name in each_token else here[name].numpy() for name in found
            }

        return features

    def tensors(self, inputs: Inputs) -> dict[str, Tensor]:
        """The same through `network`, with gradients where it has parameters that ask for them."""
        self.folded = self.network  # which may be trained from now on, and would differ
        return self._run(self.network, inputs)

    def _run(self, network: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
        cast = [arg.to(self.dtype) if arg.is_floating_point() else arg for arg in inputs.args]
        if self._compiled and network is self.folded:
            return self._run_compiled(*cast)
        return self._outputs(network, *cast, mask=inputs.mask, **inputs.kwargs)

    def _outputs(self, network: nn.Module, *args: Tensor, mask: Tensor | None, **kwargs: Tensor) -> dict[str, Tensor]:
        """torch.compile takes this whole, hooks, exception and poolings included."""
        self._pooled = {}
        self._mask = mask
        try:
            returned = network(*args, **kwargs)
            if LAST in self._wanted:
                self._pool(LAST, returned)
        except AllSeen:
            pass
        return {name: self._pooled[name] for name in self.outputs}

    def compile(self, batch_size: int | None) -> bool:
        """Compile for one batch size, at the next call; None goes back and gives False."""
        self._compiled = None
        if batch_size is None:
            return False
        one_pass = partial(self._outputs, self.folded, mask=None)
        self._compiled = torch.compile(one_pass, dynamic=False, options={"freezing": True}), batch_size
        return True

    def _run_compiled(self, batch: Tensor) -> dict[str, Tensor]:
        """A short batch is padded: another shape would be compiled anew."""
        assert self._compiled is not None
        one_pass, size = self._compiled
        short = size - len(batch)
        padded = torch.cat([batch, batch[-1:].expand(short, *batch.shape[1:])]) if short > 0 else batch
        if batch.is_contiguous(memory_format=torch.channels_last) and batch.ndim == 4:
            padded = padded.contiguous(memory_format=torch.channels_last)
        return {name: values[: len(batch)] for name, values in one_pass(padded).items()}

    @torch.inference_mode()
    def largest_bytes(self, inputs: Inputs) -> int:
        """Bytes of the largest output of any layer in a pass."""
        found = [0]

        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                found.append(output.nbytes)

        hooks = [module.register_forward_hook(hook, prepend=True) for module in self.folded.modules()]
        try:
            self._run(self.folded, inputs)
        finally:
            for handle in hooks:
                handle.remove()
        return max(found)

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


def each(x: Tensor, mask: Tensor | None) -> Ragged:
    """(b, t, d) → b arrays of the tokens that the mask (b, t) keeps."""
    kept = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if mask is None else mask.bool()
    return Ragged(x[kept].cpu().numpy(), offsets_of(kept.sum(1).cpu().numpy()))


class AllSeen(Exception):
    """Every layer asked for has been seen."""


def split_output(name: str) -> tuple[str, str]:
    """`layer4.1:avg` → ("layer4.1", "avg"); without a pooling the second part is empty."""
    layer, _, pooling = name.partition(":")
    return layer, pooling


def first_tensor(output: Any) -> Tensor:
    """Layers return a tensor, a tuple that starts with one, or a transformers ModelOutput; all index alike."""
    return output if isinstance(output, Tensor) else output[0]
