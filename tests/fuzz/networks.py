"""A fuzz target: networks in ONNX files."""

import importlib.util
from pathlib import Path

import numpy as np

from icebox.features.backbones import onnx as family
from tests.fuzz.target import Target


def network(folder: Path) -> Path:
    """A convolution, a ReLU and a mean over positions."""
    import onnx
    from onnx import helper

    random = np.random.default_rng(0)
    weights = onnx.numpy_helper.from_array(random.normal(size=(4, 3, 3, 3)).astype(np.float32), "w")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["grid"], strides=[2, 2]),
        helper.make_node("Relu", ["grid"], ["relu"]),
        helper.make_node("ReduceMean", ["relu"], ["y"], axes=[2, 3], keepdims=0),
    ]
    ends = [helper.make_tensor_value_info(*each) for each in (("x", 1, ["b", 3, "h", "w"]), ("y", 1, ["b", 4]))]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], [weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "net.onnx")
    return folder / "net.onnx"


class OnnxFile(Target):
    name = "onnx"

    def samples(self) -> list[tuple[Path, bytes]]:
        return [(Path("net.onnx"), network(Path()).read_bytes())]

    def read(self, path: Path) -> None:
        family.fetch(Path("backbone"), weights=str(path), size=8)
        family.load(Path("backbone"), outputs=["last", "grid:avg"], device="cpu")


TARGETS: list[Target] = [OnnxFile()] if all(map(importlib.util.find_spec, ("onnx", "onnxruntime"))) else []
