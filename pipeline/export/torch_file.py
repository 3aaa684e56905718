"""A network as a program of torch.export in a file, model.pt2, for torch without Icebox."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from icebox.features.errors import IceboxError
from icebox.features.json_files import one_line
from icebox.pipeline.export.graph.network import ExportedNetwork
from icebox.pipeline.export.onnx_file import program_of

OF_ONNX = "onnx_symbolic"  # the namespace of operators that stand for ONNX's


def write(network: ExportedNetwork, path: Path) -> None:
    """Write the program. Raises IceboxError for a network that torch can't export, or only by operators of ONNX."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the result is compared with the network instead
            program = program_of(network)
            refuse_operators(program)
            refuse_fixed(program, network)
            torch.export.save(program, path)
    except IceboxError:
        raise
    except Exception as reason:  # exporters raise dozens of kinds
        raise IceboxError(f"no torch export: torch can't write this network ({one_line(reason)})") from reason


def refuse_operators(program: torch.export.ExportedProgram) -> None:
    """Raise IceboxError for a program with operators that only ONNX has."""
    if any(OF_ONNX in str(node.target) for node in program.graph.nodes):
        raise IceboxError("no torch export: its trees, or LSTM, are operators of ONNX; take --format onnx")


def refuse_fixed(program: torch.export.ExportedProgram, network: ExportedNetwork) -> None:
    """Raise IceboxError where the example's number of items, or tokens, was taken for the only one."""
    inputs = set(program.graph_signature.user_inputs)
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in inputs:
            axes = node.meta["val"].shape[: 2 if network.tokens else 1]
            if any(isinstance(axis, int) for axis in axes):
                raise IceboxError("no torch export: torch takes it only for one number of items, or tokens")


class TorchSession:
    """Named arrays in, named arrays out, of a program that was written here: opening another's can run code in it."""

    def __init__(self, path: Path, names: Sequence[str], outputs: Sequence[str]) -> None:
        self.names, self.outputs = tuple(names), tuple(outputs)
        self._program = torch.export.load(path).module()

    def run(self, outputs: Sequence[str], arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs of these names."""
        with torch.inference_mode():
            values = self._program(*[torch.from_numpy(np.asarray(arrays[name])) for name in self.names])
        named = dict(zip(self.outputs, values, strict=True))
        return [named[name].numpy() for name in outputs]
