"""OpenVINO: networks on Intel's and AMD's processors, without a compiler."""

import sys
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import torch

from icebox.features.errors import IceboxError
from icebox.features.nn.runtimes.graph import Graph, Run, export
from icebox.features.nn.runtimes.signal_stack import kept_signal_stack


@cache
def library() -> Any:
    """The library, imported without its telemetry, which would report each import and conversion to its makers."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # it can then not be imported
    import openvino

    return openvino


@cache
def core() -> Any:
    """The one core of this process, with its plugin for processors loaded."""
    with kept_signal_stack():
        core = library().Core()
        core.get_property("CPU", "FULL_DEVICE_NAME")
    return core


def from_trace(graph: Graph) -> Any:
    """OpenVINO's model of the graph as recorded from one pass."""
    traced = torch.jit.trace(graph.module, graph.example, check_trace=False, strict=False)
    axes = [[-1, -1, *tensor.shape[2:]] if graph.dynamic else list(tensor.shape) for tensor in graph.example]
    return library().convert_model(traced, example_input=graph.example, input=axes)


def from_export(graph: Graph) -> Any:
    """OpenVINO's model by torch.export, which takes what a recording can't (attention of ViT)."""
    return library().convert_model(export(graph))


def build(convert: Callable[[Graph], Any], graph: Graph) -> Run:
    """The graph by one of the conversions."""
    return compiled(convert(graph), graph.precision)


def compiled(model: Any, precision: str) -> Run:
    """The converted model as this processor runs it, with as many threads as torch would take."""
    hint = {"float32": "f32", "bfloat16": "bf16"}[precision]
    options = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": hint,
        "PERFORMANCE_HINT": "LATENCY",
    }
    model = core().compile_model(model, "CPU", options)

    def run(inputs: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        return list(model(list(inputs)).values())

    return run


def refuse(precision: str) -> None:
    """Raise IceboxError for a precision that OpenVINO would not compute in here: it takes another without a word."""
    if precision == "bfloat16" and "BF16" not in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise IceboxError("runtime: openvino: this processor has no units for bfloat16; take precision: float32")


CONVERSIONS = (from_trace, from_export)
BUILDS = tuple(partial(build, convert) for convert in CONVERSIONS)
