"""Quantization to int8 by NNCF, and the passes of such a network by OpenVINO.

Processors with VNNI (avx512_vnni, avx_vnni) or AMX multiply int8 without overflow; on others sums of two products may
overflow, for which NNCF keeps the first layer's weights to seven bits.
"""

import io
import logging
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from icebox.features.abc.quantized_network import INT8, QuantizedNetwork
from icebox.features.errors import IceboxError
from icebox.features.json_files import one_line
from icebox.features.nn.layer_outputs import LayerOutputs
from icebox.features.nn.runtimes import openvino
from icebox.features.nn.runtimes.graph import ConversionError, Graph, Run, checked, fill, graph_of
from icebox.features.nn.runtimes.signal_stack import kept_signal_stack

ATTENTION = ("attention", "attn")  # in the name of a layer's class


def quantize(
    layer_outputs: LayerOutputs, batches: Sequence[Mapping[str, Tensor]], *, batch_size: int | None
) -> QuantizedNetwork:
    """The network in int8, its numbers' ranges measured on batches of named inputs; equal ones give equal bytes.

    Batches are filled up to `batch_size`; None: any number of items, of any length. Raises IceboxError for a network
    that can't be quantized.
    """
    filled = [{name: fill(tensor, batch_size or 0) for name, tensor in batch.items()} for batch in batches]
    inputs = tuple(filled[0])
    longest = max(filled, key=lambda batch: sum(tensor.numel() for tensor in batch.values()))
    reasons = []
    with graph_of(layer_outputs, longest, "float32", dynamic=batch_size is None) as graph:
        for convert in openvino.CONVERSIONS:
            try:
                model = convert(graph)
                checked(partial(run_of, model), graph)
                samples = [[batch[name].numpy() for name in inputs] for batch in filled]
                structure, weights = saved(calibrated(model, samples, attention=has_attention(layer_outputs.network)))
                return QuantizedNetwork(structure, weights, inputs)
            except Exception as reason:  # noqa: BLE001  # exporters and quantizers raise dozens of kinds
                reasons.append(one_line(reason) or type(reason).__name__)
    raise IceboxError(f"precision: int8: this network can't be quantized ({reasons[0]}); take auto or float32")


def run_of(model: Any, graph: Graph) -> Run:
    """The passes of a model that was converted from the graph."""
    return openvino.compiled(model, graph.precision)


def has_attention(network: nn.Module) -> bool:
    """Whether a network is a transformer, of which NNCF leaves in float32 what loses too much in int8."""
    return any(word in type(layer).__name__.lower() for layer in network.modules() for word in ATTENTION)


def calibrated(model: Any, samples: Sequence[Sequence[Any]], *, attention: bool) -> Any:
    """OpenVINO's model in int8; `samples` are lists of its inputs."""
    openvino.library()  # before NNCF, which would report to its makers too
    import nncf

    nncf.set_log_level(logging.ERROR)
    with redirect_stdout(io.StringIO()), kept_signal_stack():  # its bars; its cores
        return nncf.quantize(
            model,
            nncf.Dataset([list(sample) for sample in samples]),
            subset_size=len(samples),
            preset=nncf.QuantizationPreset.MIXED,
            model_type=nncf.ModelType.TRANSFORMER if attention else None,
        )


def saved(model: Any) -> tuple[bytes, bytes]:
    """Structure and weights, without what differs between two runs: names that hold counters, settings, versions."""
    model.set_friendly_name(INT8)
    for number, operation in enumerate(model.get_ordered_ops()):
        operation.set_friendly_name(str(number))
        for output in operation.outputs():
            output.get_tensor().set_names(set())
    for key in [*model.get_rt_info()]:
        del model.rt_info[key]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.xml"
        openvino.library().save_model(model, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


def build(network: QuantizedNetwork, graph: Graph) -> Run:
    """The passes of a quantized network. Raises ConversionError where the graph has other inputs."""
    if graph.names != network.inputs:
        raise ConversionError(f"it was calibrated on {', '.join(network.inputs)}, and not {', '.join(graph.names)}")
    model = openvino.core().read_model(network.structure, network.weights)
    return openvino.compiled(model, "float32")
