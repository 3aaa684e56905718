"""Forward passes that start behind a network's frozen part, from that part's stored activations.

Placeholders stand for the modules up to the starting point, and the last of them returns the stored activations. That
works for networks that pass one tensor from block to block; whether this one does is tested before it is relied upon.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from icebox.features.errors import IceboxError
from icebox.features.nn import blocks
from icebox.features.nn.layer_outputs import Inputs, LayerOutputs, first_tensor

TOLERANCE = 1e-5  # relative, between the outputs of a partial and of a whole forward pass


class Placeholder(nn.Module):
    """Stands where a module of the frozen part was; the last one returns the stored activations."""

    def __init__(self, *, last: bool) -> None:
        super().__init__()
        self.last = last
        self.activations: Tensor | None = None

    def forward(self, *args: Any, **_kwargs: Any) -> Any:
        """Return the first argument, or the activations if this is the last placeholder or there are no arguments.

        BERT's embeddings get no positional argument: the modules after them only look at the shape (b, t, d), which is
        that of the activations.
        """
        return args[0] if args and not self.last else self.activations


class PartialForward:
    """A network whose forward pass can start right behind `block`, from that block's stored output."""

    def __init__(self, layer_outputs: LayerOutputs, block: str, inputs: Inputs) -> None:
        """`inputs` are a few items'. Raises IceboxError where a partial pass of them differs from a whole one."""
        self.layer_outputs, self.block = layer_outputs, block
        with torch.no_grad():
            expected = layer_outputs.tensors(inputs)
            activations = self._block_output(inputs)
            self.shape, self.device = activations.shape[1:], activations.device
            channels_last = activations.ndim == 4 and activations.is_contiguous(memory_format=torch.channels_last)
            self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
            self.skipped = self._skipped_modules(inputs)
            try:
                with self.entered():
                    outputs = layer_outputs.tensors(self.inputs(activations, inputs))
            except (RuntimeError, ValueError, AssertionError, TypeError, AttributeError, KeyError) as reason:
                raise IceboxError(f"this network can't be entered behind {block}: {reason}") from reason
        for name, values in expected.items():
            if not torch.allclose(outputs[name], values, rtol=TOLERANCE, atol=TOLERANCE * float(values.abs().max())):
                raise IceboxError(f"entered behind {block}, this network gives another '{name}'")

    def _block_output(self, inputs: Inputs) -> Tensor:
        """The output (b, …) of `block` in a whole pass."""
        outputs: list[Tensor] = []
        hook = self.layer_outputs.network.get_submodule(self.block).register_forward_hook(
            lambda _module, _args, output: outputs.append(first_tensor(output).clone())
        )
        try:
            self.layer_outputs.tensors(inputs)
        finally:
            hook.remove()
        return outputs[0]

    def _skipped_modules(self, inputs: Inputs) -> list[str]:
        """The modules that are called before `block` ends and never after, `block` included, outermost only."""
        network = self.layer_outputs.network
        calls: dict[str, list[int]] = {}
        ended = [0]
        clock = iter(range(10**9))

        def recorder(name: str) -> Any:
            return lambda _module, _args: calls.setdefault(name, []).append(next(clock))

        hooks: list[Any] = [m.register_forward_pre_hook(recorder(name)) for name, m in network.named_modules() if name]
        hooks.append(
            network.get_submodule(self.block).register_forward_hook(lambda *_: ended.__setitem__(0, next(clock)))
        )
        try:
            self.layer_outputs.tensors(inputs)
        finally:
            for hook in hooks:
                hook.remove()
        # a module around the block is called before it, too, but goes on behind it
        before = [n for n, times in calls.items() if max(times) < ended[0] and not blocks.is_within(self.block, n)]
        before.append(self.block)
        return [n for n in before if not any(n != other and blocks.is_within(n, other) for other in before)]

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Within this context placeholders stand in the network for the frozen part."""
        network = self.layer_outputs.network
        originals = {name: network.get_submodule(name) for name in self.skipped}
        try:
            for name in originals:
                network.set_submodule(name, Placeholder(last=name == self.block))
            yield
        finally:
            for name, original in originals.items():
                network.set_submodule(name, original)

    def inputs(self, activations: Tensor, like: Inputs) -> Inputs:
        """Put activations (b, …) into the placeholders; returns the arguments of one forward pass from there.

        Their shapes and mask are those of `like`, the arguments of a whole pass of b items.
        """
        activations = activations.contiguous(memory_format=self.memory_format)  # as the frozen part does: 1/8 faster
        for name in self.skipped:
            placeholder = self.layer_outputs.network.get_submodule(name)
            assert isinstance(placeholder, Placeholder)
            placeholder.activations = activations
        return replace(
            like, args=tuple(torch.zeros((), dtype=a.dtype, device=a.device).expand(a.shape) for a in like.args)
        )


def last_frozen_block(order: Sequence[str], free: set[str]) -> str | None:
    """The block right before the first with a free parameter; None where that is the very first block."""
    first = min((blocks.block_index(name, order) for name in free), default=len(order))
    return order[first - 1] if first > 0 else None
