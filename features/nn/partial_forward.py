"""Enter a network behind its frozen part: what that part gives is known, so it need not be computed again.

The modules that data passes up to the cut become stand-ins, and the last of them hands on the known activations. That
holds for networks that pass one thing from block to block; whether this one does is tried before it is relied upon.
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

TOLERANCE = 1e-5  # relative: entered here, the network must give what it gives when passed whole


class Placeholder(nn.Module):
    """Stands where a module of the frozen part was. The one at its end gives the known activation."""

    def __init__(self, *, last: bool) -> None:
        super().__init__()
        self.last = last
        self.known: Tensor | None = None

    def forward(self, *args: Any, **_kwargs: Any) -> Any:
        """What comes in goes on. BERT's embeddings are given nothing by position: whatever follows them only looks at
        the shape (b, t, d), which is that of the known activation."""
        return args[0] if args and not self.last else self.known


class PartialForward:
    """A network that can be entered right behind `block`."""

    def __init__(self, layer_outputs: LayerOutputs, block: str, inputs: Inputs) -> None:
        """`inputs` of a few items are tried. Raises IceboxError where the network can't be entered there."""
        self.layer_outputs, self.block = layer_outputs, block
        with torch.no_grad():
            expected = layer_outputs.tensors(inputs)
            known = self._activation(inputs)
            self.shape, self.device = known.shape[1:], known.device
            by_channels = known.ndim == 4 and known.is_contiguous(memory_format=torch.channels_last)
            self.layout = torch.channels_last if by_channels else torch.contiguous_format
            self.before = self._before(inputs)
            try:
                with self.entered():
                    found = layer_outputs.tensors(self.inputs(known, inputs))
            except (RuntimeError, ValueError, AssertionError, TypeError, AttributeError) as reason:
                raise IceboxError(f"this network can't be entered behind {block}: {reason}") from reason
        for name, values in expected.items():
            if not torch.allclose(found[name], values, rtol=TOLERANCE, atol=TOLERANCE * float(values.abs().max())):
                raise IceboxError(f"entered behind {block}, this network gives another '{name}'")

    def _activation(self, inputs: Inputs) -> Tensor:
        """What `block` gives (b, …)."""
        kept: list[Tensor] = []
        hook = self.layer_outputs.network.get_submodule(self.block).register_forward_hook(
            lambda _module, _args, output: kept.append(first_tensor(output).clone())
        )
        try:
            self.layer_outputs.tensors(inputs)
        finally:
            hook.remove()
        return kept[0]

    def _before(self, inputs: Inputs) -> list[str]:
        """The modules that data passes up to `block` and never after, outermost only."""
        network = self.layer_outputs.network
        calls: dict[str, list[int]] = {}
        ended = [0]
        clock = iter(range(10**9))

        def called(name: str) -> Any:
            return lambda _module, _args: calls.setdefault(name, []).append(next(clock))

        hooks: list[Any] = [m.register_forward_pre_hook(called(name)) for name, m in network.named_modules() if name]
        hooks.append(
            network.get_submodule(self.block).register_forward_hook(lambda *_: ended.__setitem__(0, next(clock)))
        )
        try:
            self.layer_outputs.tensors(inputs)
        finally:
            for hook in hooks:
                hook.remove()
        # a module around the block is called before it, too, but goes on behind it
        passed = [n for n, at in calls.items() if max(at) < ended[0] and not blocks.is_within(self.block, n)]
        passed.append(self.block)
        return [n for n in passed if not any(n != other and blocks.is_within(n, other) for other in passed)]

    @contextmanager
    def entered(self) -> Iterator[None]:
        """While this lasts, the frozen part is not there."""
        network = self.layer_outputs.network
        originals = {name: network.get_submodule(name) for name in self.before}
        try:
            for name in originals:
                network.set_submodule(name, Placeholder(last=name == self.block))
            yield
        finally:
            for name, original in originals.items():
                network.set_submodule(name, original)

    def inputs(self, activations: Tensor, like: Inputs) -> Inputs:
        """Put activations (b, …) in place, for one forward pass; shapes and masks are those of `like`, b items too."""
        known = activations.contiguous(memory_format=self.layout)  # as the frozen part lays them: an eighth faster
        for name in self.before:
            stand_in = self.layer_outputs.network.get_submodule(name)
            assert isinstance(stand_in, Placeholder)
            stand_in.known = known
        return replace(
            like, args=tuple(torch.zeros((), dtype=a.dtype, device=a.device).expand(a.shape) for a in like.args)
        )


def last_frozen_block(order: Sequence[str], free: set[str]) -> str | None:
    """The block right before the first with a free parameter; None where the very first one learns, too."""
    first = min((blocks.block_index(name, order) for name in free), default=len(order))
    return order[first - 1] if first > 0 else None
