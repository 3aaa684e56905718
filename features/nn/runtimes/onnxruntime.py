"""ONNX Runtime: networks on any processor, in float32."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from icebox.features.errors import IceboxError
from icebox.features.nn.runtimes.graph import Graph, Run, export

SEVERE = 3  # onnxruntime's number for errors: warnings are of its optimizer


def from_export(graph: Graph) -> Run:
    """The graph by torch.export and ONNX."""
    import onnxruntime

    program = torch.onnx.export(export(graph), verbose=False, optimize=True)
    assert program is not None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = SEVERE
    with tempfile.TemporaryDirectory() as folder:  # weights above 2 GB lie in a file of their own
        path = Path(folder) / "network.onnx"
        program.save(path)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]

    def run(inputs: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        outputs: list[np.ndarray] = session.run(None, dict(zip(names, inputs, strict=True)))
        return outputs

    return run


def refuse(precision: str) -> None:
    """Raise IceboxError for another precision than float32."""
    if precision != "float32":
        raise IceboxError(f"runtime: onnxruntime computes in float32 on a processor, not in {precision}")


BUILDS = (from_export,)
