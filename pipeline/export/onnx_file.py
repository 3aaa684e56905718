"""A network as one ONNX graph in a file."""

import warnings
from pathlib import Path
from typing import Any

import torch

from icebox.features.errors import IceboxError
from icebox.features.json_files import one_line
from icebox.pipeline.export.graph import trees
from icebox.pipeline.export.graph.network import ExportedNetwork

OPSET = 20
INLINE_BYTES_MAX = 1_900_000_000  # of protobuf's 2 GB: the weights of larger networks lie in a file beside
INSTALL = "pip install 'icebox[export]'"


def write(network: ExportedNetwork, path: Path) -> None:
    """Write the graph. Raises IceboxError for a network that torch's exporter can't take, and without its packages."""
    try:
        import onnx
        import onnxscript  # noqa: F401  # torch's exporter needs it
    except ImportError as reason:
        raise IceboxError(f"export: needs {reason.name}, which is not installed; run: {INSTALL}") from reason
    forests = trees.numbered(network.module)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the result is compared with torch's instead
            program = torch.onnx.export(
                program_of(network),
                input_names=list(network.names),
                output_names=list(network.outputs),
                opset_version=OPSET,
                verbose=False,
                optimize=True,
            )
            assert program is not None
            model = program.model_proto
    except Exception as reason:  # exporters raise dozens of kinds
        raise IceboxError(f"no export: torch can't write this network as ONNX ({one_line(reason)})") from reason
    trees.attach(model, forests)
    refuse_fixed(model, network)
    name_axes(model, network)
    if model.ByteSize() < INLINE_BYTES_MAX:
        onnx.save(model, path)
    else:
        onnx.save(model, path, save_as_external_data=True, location=f"{path.name}.data")


def program_of(network: ExportedNetwork) -> "torch.export.ExportedProgram":
    """The network by torch.export, for any number of items, and of tokens."""
    auto = torch.export.Dim.AUTO
    axes = {0: auto, 1: auto} if network.tokens else {0: auto}
    example = tuple(tensor.clone() for tensor in network.example)
    with torch.no_grad():
        return torch.export.export(
            network.module, example, dynamic_shapes={"tensors": tuple(axes for _ in example)}, strict=False
        )


def refuse_fixed(model: Any, network: ExportedNetwork) -> None:
    """Raise IceboxError where the exporter has taken the example's number of items, or tokens, for the only one."""
    for value in model.graph.input:
        axes = value.type.tensor_type.shape.dim[: 2 if network.tokens else 1]
        if not all(axis.dim_param for axis in axes):
            raise IceboxError("no export: torch can write this network only for one number of items, or tokens")


def name_axes(model: Any, network: ExportedNetwork) -> None:
    """Call the axes that vary `batch` and `tokens`, in place of the exporter's numbers."""
    del model.graph.value_info[:]
    for value in [*model.graph.input, *model.graph.output]:
        for place, axis in enumerate(value.type.tensor_type.shape.dim):
            if axis.dim_param:
                axis.dim_param = "batch" if place == 0 else "tokens"
