"""A frozen network with its poolings as one function of tensors, and the sessions that run it outside of torch.

Letters: b batch, t tokens.
"""

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from icebox.features.errors import IceboxError
from icebox.features.json_files import one_line
from icebox.features.nn.layer_outputs import LayerOutputs, inputs_of

# between what a runtime gives and the same in torch's float32, as a share of the largest value
# (of int8 so much that only another network's would be refused: how far it may be is measured, see quantization.py)
TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2, "int8": 1.0}

Run = Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]  # a graph's inputs → its outputs


class ConversionError(Exception):
    """A network that a runtime can't take, and why."""


@dataclass(frozen=True)
class Graph:
    """`module` takes tensors of these `names` in this order, and returns a tuple, one tensor an output.

    It computes in float32; a runtime that can computes it in `precision`. Batches are of the shapes of `example`, or,
    where `dynamic`, of any number of items and tokens (b, t, …).
    """

    module: nn.Module
    names: tuple[str, ...]
    example: tuple[Tensor, ...]
    precision: str
    dynamic: bool

    def shorter(self) -> "Graph":
        """This graph with an example of one item of two thirds of the tokens."""
        cut = tuple(tensor[:1, : -(-2 * tensor.shape[1] // 3)].contiguous() for tensor in self.example)
        return replace(self, example=cut)


class OnePass(nn.Module):
    """One pass of a network and its poolings in float32: named tensors in their order → a tuple, one an output."""

    def __init__(self, layer_outputs: LayerOutputs, names: Sequence[str]) -> None:
        super().__init__()
        self.layer_outputs, self.names = layer_outputs, tuple(names)
        self.network = in_float32(layer_outputs.inference_network)
        self.embedding = layer_outputs.embedding  # exporters look for parameters in submodules

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """(b, …) each → (b, …) each."""
        inputs = inputs_of(dict(zip(self.names, tensors, strict=True)))
        self.layer_outputs.ends_early = False  # exporters lose their way where a module is left by an exception
        try:
            outputs = self.layer_outputs.one_pass(self.network, *inputs.args, mask=inputs.mask, **inputs.kwargs)
        finally:
            self.layer_outputs.ends_early = True
        return tuple(outputs[name] for name in self.layer_outputs.outputs)


class Session:
    """A network's passes by another runtime, which `builds` convert it for: the first whose result agrees is taken.

    Batches are filled up to `batch_size()`, so that no feature depends on how many pass with it; None: any number of
    items, of any length. `precision` is the network's.
    """

    def __init__(
        self,
        name: str,
        builds: Sequence[Callable[[Graph], Run]],
        layer_outputs: LayerOutputs,
        *,
        precision: str,
        batch_size: Callable[[], int | None],
    ) -> None:
        self.name, self.builds, self.layer_outputs = name, builds, layer_outputs
        self.precision, self.batch_size = precision, batch_size
        self._runs: dict[tuple[object, ...], Run] = {}  # texts alone and pairs differ in their inputs

    def __call__(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Named inputs (b, …) → {output: (b, …)}. Raises IceboxError for a network that the runtime can't take."""
        count = len(next(iter(tensors.values())))
        batch_size = self.batch_size()
        filled = {name: fill(tensor, batch_size or 0) for name, tensor in tensors.items()}
        key = tuple(filled) if batch_size is None else tuple((name, t.shape) for name, t in filled.items())
        if key not in self._runs:
            self._runs[key] = self._build(filled, dynamic=batch_size is None)
        values = self._runs[key]([tensor.numpy() for tensor in filled.values()])
        named = zip(self.layer_outputs.outputs, values, strict=True)
        return {name: torch.from_numpy(array[:count]) for name, array in named}

    def _build(self, tensors: Mapping[str, Tensor], *, dynamic: bool) -> Run:
        with graph_of(self.layer_outputs, tensors, self.precision, dynamic=dynamic) as graph:
            reasons = []
            for build in self.builds:
                try:
                    return checked(build, graph)
                except ConversionError as reason:
                    reasons.append(str(reason))
        raise IceboxError(f"runtime: {self.name} can't take this network ({reasons[0]}); choose another, or auto")


@contextmanager
def graph_of(
    layer_outputs: LayerOutputs, tensors: Mapping[str, Tensor], precision: str, *, dynamic: bool
) -> Iterator[Graph]:
    """The graph of a network, with these inputs as an example, while it is being converted."""
    with torch.inference_mode(False), torch.no_grad(), without_remarks():
        example = tuple(tensor.clone() for tensor in tensors.values())
        names = tuple(tensors)
        yield Graph(OnePass(layer_outputs, names).eval(), names, example, precision, dynamic=dynamic)


def fill(tensor: Tensor, batch_size: int) -> Tensor:
    """A batch with its last row repeated up to the batch size, contiguous; floating-point numbers in float32."""
    short = batch_size - len(tensor)
    filled = torch.cat([tensor, tensor[-1:].expand(short, *tensor.shape[1:])]) if short > 0 else tensor
    return (filled.float() if filled.is_floating_point() else filled).contiguous()


def checked(build: Callable[[Graph], Run], graph: Graph) -> Run:
    """The run that `build` makes of a graph, once it gives what torch does. Raises ConversionError."""
    try:
        run = build(graph)
        for like in (graph, graph.shorter()) if graph.dynamic else (graph,):
            expected = like.module(*like.example)
            values = run([tensor.numpy() for tensor in like.example])
            for reference, array in zip(expected, values, strict=True):
                refuse_other_values(array, reference.numpy(), TOLERANCE[graph.precision])
    except Exception as reason:  # exporters and runtimes raise dozens of kinds
        raise ConversionError(one_line(reason) or type(reason).__name__) from reason
    return run


def refuse_other_values(values: np.ndarray, reference: np.ndarray, tolerance: float) -> None:
    """Raise ConversionError for values that are another shape than the reference's, or too far from it."""
    if values.shape != reference.shape:
        raise ConversionError(f"its output is {values.shape}, not {reference.shape}")
    apart = float(np.abs(values - reference).max(initial=0))
    if not apart <= tolerance * float(np.abs(reference).max(initial=0)):
        raise ConversionError(f"its features are up to {apart:.2g} apart from torch's")


def in_float32(network: nn.Module) -> nn.Module:
    """A copy of the network whose parameters, rounded as they are, are in float32; itself where all of them are."""
    tensors = [*network.parameters(), *network.buffers()]
    if all(tensor.dtype == torch.float32 for tensor in tensors if tensor.is_floating_point()):
        return network
    return copy.deepcopy(network).float()


@contextmanager
def without_remarks() -> Iterator[None]:
    """Within this context exporters' warnings are dropped: the result is compared with torch's instead."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def export(graph: Graph) -> "torch.export.ExportedProgram":
    """The graph's module by torch.export."""
    auto = torch.export.Dim.AUTO
    axes = {0: auto, 1: auto} if graph.dynamic else None
    shapes = {"tensors": tuple(axes for _ in graph.example)}
    return torch.export.export(graph.module, graph.example, dynamic_shapes=shapes, strict=False)
