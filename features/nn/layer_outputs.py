"""The pooled outputs of any layers of a frozen network, from one forward pass.

An output is named `LAYER` or `LAYER:POOLING`. `last` is what the network itself returns, `embedding` the one vector
that its makers compute from that, where they say how; any other layer is named as in `network.named_modules()`.
"""

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from icebox.features.errors import IceboxError, suggestion
from icebox.features.nn.embeddings import EMBEDDING, Embedding
from icebox.features.nn.fusion import fuse_conv_batchnorm
from icebox.features.nn.pooling import EACH_TOKEN, pool
from icebox.features.nn.transfer import to_host_async
from icebox.features.ragged import Ragged, Values, offsets_of

LAST = "last"
ARGUMENT, MASK = "argument", "pooling_mask"  # names of a network's inputs that have none of their own
Session = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]  # a pass by another runtime: named inputs → outputs


@dataclass
class Inputs:
    """The arguments of a network's forward pass for b items; `mask` (b, t) is 1 for real tokens and 0 for padding."""

    args: tuple[Tensor, ...] = ()
    kwargs: Mapping[str, Tensor] = field(default_factory=dict)
    mask: Tensor | None = None

    def tensors(self) -> dict[str, Tensor]:
        """All by name, arguments without a name by their place: `inputs_of` takes them apart again."""
        named = {f"{ARGUMENT}{place}": arg for place, arg in enumerate(self.args)} | dict(self.kwargs)
        return named if self.mask is None else named | {MASK: self.mask}


def inputs_of(tensors: Mapping[str, Tensor]) -> Inputs:
    """The inputs whose `tensors()` these are."""
    args = tuple(tensor for name, tensor in tensors.items() if name.startswith(ARGUMENT))
    kwargs = {name: t for name, t in tensors.items() if not name.startswith(ARGUMENT) and name != MASK}
    return Inputs(args, kwargs, tensors.get(MASK))


class LayerOutputs:
    """A frozen network, in eval mode without gradients, and the (layer, pooling) pairs taken from each forward pass.

    Freezing needs both: batch norm in training mode makes a feature depend on its batch-mates.

    `network` is the network as it was loaded. Inference runs `inference_network`: a copy with fused batch norms, until
    `make_trainable` is called, and `network` itself from then on.
    """

    def __init__(
        self,
        network: nn.Module,
        outputs: Sequence[str],
        *,
        precision: str = "float32",
        embedding: Embedding | None = None,
        loaded_in_precision: bool = False,
        features_last: Collection[str] = (),
    ) -> None:
        """`outputs` are named `LAYER` or `LAYER:POOLING`; `embedding` gives the output of that name.

        `loaded_in_precision`: the network is in `precision` already, but for what has to stay in float32. The layers
        of `features_last` return (b, h, w, d). Raises IceboxError for a layer that is not in the network.
        """
        self.dtype: torch.dtype = getattr(torch, precision)
        self.outputs = tuple(outputs)
        self._requested: dict[str, list[tuple[str, str]]] = {}  # layer → its (output, pooling) pairs
        for name in outputs:
            layer, pooling = split_output(name)
            self._requested.setdefault(layer, []).append((name, pooling))
        self._features_last = frozenset(features_last)
        self._pooled: dict[str, Tensor] = {}
        self._mask: Tensor | None = None
        self._frame: tuple[int, int] | None = None  # height and width of the pictures, where the input is some
        self._compiled: tuple[Callable[[Tensor], dict[str, Tensor]], int] | None = None  # and its one batch size
        self.session: Session | None = None  # instead of torch
        self.ends_early = True  # a pass ends with the last requested layer
        modules = dict(network.named_modules())
        self.embedding = embedding
        computed = {LAST, EMBEDDING} if embedding is not None else {LAST}
        for layer in self._requested.keys() - computed:
            if layer not in modules:
                raise IceboxError(f"outputs: no layer named '{layer}'; {suggestion(layer, [m for m in modules if m])}")
        frozen = network.eval().requires_grad_(False)
        # fused before parameters are rounded to `dtype`
        self.inference_network = fuse_conv_batchnorm(frozen, keep=self._requested)
        self.network = frozen
        if not loaded_in_precision:
            self.inference_network, self.network = self.inference_network.to(self.dtype), frozen.to(self.dtype)
        for hooked in {self.network, self.inference_network}:
            for layer in self._requested.keys() - computed:
                hooked.get_submodule(layer).register_forward_hook(partial(self._capture, layer))
        if precision == "float32":  # cuDNN would round convolutions to 10 bits (TF32) unasked
            torch.backends.cudnn.allow_tf32 = False

    def __call__(self, inputs: Inputs) -> dict[str, Values]:
        """One inference pass → {output: float32 (b, …)}; with pooling `tokens` b arrays (t, d), padding left out."""
        return self.begin(inputs)()

    @torch.inference_mode()
    def begin(self, inputs: Inputs) -> Callable[[], dict[str, Values]]:
        """Start one inference pass. Returns a function that waits for it and returns its features."""
        outputs = self.session(inputs.tensors()) if self.session else self._run(self.inference_network, inputs)
        each_token = [name for name in outputs if split_output(name)[1] == EACH_TOKEN]
        pooled = to_host_async({name: values for name, values in outputs.items() if name not in each_token})

        def features() -> dict[str, Values]:
            on_host = pooled()
            return {
                name: token_vectors(values, inputs.mask) if name in each_token else on_host[name].numpy()
                for name, values in outputs.items()
            }

        return features

    def replica(self) -> "LayerOutputs":
        """These outputs of a copy of the network, which shares its parameters: for inference in another thread."""
        twin = copy.copy(self)
        shared: dict[int, Any] = {id(parameter): parameter for parameter in self.inference_network.parameters()}
        memo = shared | {id(self): twin}  # so that the copy's hooks are the twin's
        twin.inference_network = twin.network = copy.deepcopy(self.inference_network, memo)
        return twin

    @property
    def is_eager(self) -> bool:
        """Whether a pass is torch's own, layer by layer, for inference alone."""
        is_plain = self.session is None and self._compiled is None
        return is_plain and not any(parameter.requires_grad for parameter in self.inference_network.parameters())

    def make_trainable(self) -> None:
        """Run `network` in every later pass: once it is trained, a fused or compiled copy would hold old parameters."""
        keep_plain_layout(self.network)
        self.inference_network = self.network
        self._compiled = self.session = None

    def tensors(self, inputs: Inputs) -> dict[str, Tensor]:
        """One pass through `network` → {output: (b, …)}, with gradients for parameters that require them.

        Only after `make_trainable`; raises RuntimeError before.
        """
        if self.inference_network is not self.network or self._compiled or self.session:
            raise RuntimeError("call make_trainable() first, so that inference follows what is trained")
        return self._run(self.network, inputs)

    @property
    def input_dtype(self) -> torch.dtype:
        """The number format in which inputs are best made: that of the network, or float32 for another runtime."""
        return self.dtype if self.session is None else torch.float32

    def _run(self, network: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
        cast = [arg.to(self.dtype) if arg.is_floating_point() else arg for arg in inputs.args]
        if self._compiled:
            return self._run_compiled(*cast)
        return self.one_pass(network, *cast, mask=inputs.mask, **inputs.kwargs)

    def one_pass(self, network: nn.Module, *args: Tensor, mask: Tensor | None, **kwargs: Tensor) -> dict[str, Tensor]:
        """The pooled outputs of one pass through `network`, whose hooks are this object's.

        Compilers and exporters take this whole: hooks, exception and poolings included.
        """
        self._pooled = {}
        self._mask = mask
        self._frame = (args[0].shape[2], args[0].shape[3]) if args and args[0].ndim == 4 else None
        try:
            returned = network(*args, **kwargs)
            if LAST in self._requested:
                self._pool(LAST, returned)
            if EMBEDDING in self._requested and self.embedding is not None:
                self._pooled[EMBEDDING] = self.embedding(returned, mask).clone()
        except AllLayersCaptured:
            pass
        return {name: self._pooled[name] for name in self.outputs}

    def compile(self, batch_size: int | None) -> bool:
        """Compile inference for one batch size, at the next pass → True; None undoes it → False."""
        self._compiled = None
        if batch_size is None:
            return False
        one_pass = partial(self.one_pass, self.inference_network, mask=None)
        self._compiled = torch.compile(one_pass, dynamic=False, options={"freezing": True}), batch_size
        return True

    def _run_compiled(self, batch: Tensor) -> dict[str, Tensor]:
        """The outputs of a batch by the compiled pass. A short one is padded: each new shape is compiled anew."""
        assert self._compiled is not None
        one_pass, size = self._compiled
        short = size - len(batch)
        padded = torch.cat([batch, batch[-1:].expand(short, *batch.shape[1:])]) if short > 0 else batch
        if batch.is_contiguous(memory_format=torch.channels_last) and batch.ndim == 4:
            padded = padded.contiguous(memory_format=torch.channels_last)
        return {name: values[: len(batch)] for name, values in one_pass(padded).items()}

    @torch.inference_mode()
    def largest_output_bytes(self, inputs: Inputs) -> int:
        """Size of the largest output of any layer in one inference pass."""
        sizes = [0]

        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                sizes.append(output.nbytes)

        hooks = [module.register_forward_hook(hook, prepend=True) for module in self.inference_network.modules()]
        try:
            self._run(self.inference_network, inputs)
        finally:
            for handle in hooks:
                handle.remove()
        return max(sizes)

    def _capture(self, layer: str, _module: nn.Module, _args: Any, output: Any) -> None:
        """A forward hook that pools the layer's output; after the last requested layer it ends the pass."""
        self._pool(layer, output)
        if self.ends_early and len(self._pooled) == len(self.outputs):
            raise AllLayersCaptured  # deeper layers need not be computed

    def _pool(self, layer: str, output: Any) -> None:
        """Pool and copy a layer's output at once: a ReLU that works in place may be about to overwrite it.

        In float32, since an average of many rounded numbers need not be rounded each time.
        """
        values = first_tensor(output).float()
        if layer in self._features_last:
            values = values.permute(0, 3, 1, 2)
        mask = self._mask if self._mask is None else self._mask.to(values.device)
        for name, pooling in self._requested[layer]:
            self._pooled[name] = pool(values, pooling, mask, self._frame).clone()


def keep_plain_layout(network: nn.Module) -> None:
    """Let convolutions of 1×1 with a stride, of colours as they are, run without channels-last on the CPU.

    oneDNN's backward pass of these writes where it must not (torch 2.13; FastViT's first layer): the process dies.
    """
    for layer in network.modules():
        if not isinstance(layer, nn.Conv2d) or set(layer.kernel_size) != {1} or set(layer.stride) == {1}:
            continue
        if layer.in_channels < 8 and layer.weight.device.type == "cpu":
            layer.weight.data = layer.weight.data.clone(memory_format=torch.contiguous_format)
            layer.register_forward_pre_hook(
                lambda _module, args: (args[0].clone(memory_format=torch.contiguous_format),)
            )


def token_vectors(x: Tensor, mask: Tensor | None) -> Ragged:
    """(b, t, d) → b arrays (t, d) of the tokens for which the mask (b, t) is not 0."""
    kept = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if mask is None else mask.to(x.device).bool()
    return Ragged(x[kept].cpu().numpy(), offsets_of(kept.sum(1).cpu().numpy()))


class AllLayersCaptured(Exception):
    """Raised inside a forward pass to end it: the outputs of all requested layers are there."""


def split_output(name: str) -> tuple[str, str]:
    """`layer4.1:avg` → ("layer4.1", "avg"); without a pooling the second part is empty."""
    layer, _, pooling = name.partition(":")
    return layer, pooling


def first_tensor(output: Any) -> Tensor:
    """The tensor in a layer's output: that itself, or the first entry of a tuple or of a transformers ModelOutput."""
    return output if isinstance(output, Tensor) else output[0]
