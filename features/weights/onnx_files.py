"""Networks in ONNX files: what they take and give, and the sessions of ONNX Runtime that run them."""

import importlib.util
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from icebox.features import fingerprint
from icebox.features.errors import IceboxError, suggestion
from icebox.features.json_files import one_line
from icebox.features.nn.layer_outputs import LAST
from icebox.features.weights import checkpoints

FILE = "network.onnx"
PACKAGES = ("onnx", "onnxruntime")
FATAL = 4  # onnxruntime's number: what it raises it would log, too, and its warnings are of its optimizer
DATA_FOLDER = "session.model_external_initializers_file_folder_path"
FLOATS = {"tensor(float)": "float32", "tensor(float16)": "float16"}
INTEGERS = {"tensor(int64)": "int64", "tensor(int32)": "int32"}


@dataclass(frozen=True)
class Input:
    """An input of a graph: its name, its kind as ONNX Runtime has it, and its sides, None where any number goes."""

    name: str
    kind: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        sides = ", ".join("any" if side is None else str(side) for side in self.shape)
        return f"{self.name}: {self.kind} ({sides})"


def require_packages() -> None:
    """Raise IceboxError where a package that ONNX files need is not installed."""
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        raise IceboxError(f"family onnx: needs {missing[0]}, which is not installed; pip install 'icebox[onnx]'")


def keep(path: Path, folder: Path, sha256: str | None) -> None:
    """Copy an ONNX file, and the files that its weights lie in, into a backbone's folder.

    Raises IceboxError for one that is not there, not what is pinned, no network, or whose data lie outside its folder.
    """
    require_packages()
    if path.suffix != ".onnx" or not path.is_file():
        raise IceboxError(
            f"weights: expected an ONNX file (.onnx), found {'' if path.exists() else 'no such file '}{path} "
            f"(looked in {Path.cwd()})"
        )
    checkpoints.check_sha256(path, sha256)
    data = data_files(path)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, folder / FILE)
    for name in data:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path.parent / name, folder / name)


def data_files(path: Path) -> list[str]:
    """Names of the files beside an ONNX file that hold weights of it. Raises IceboxError for any outside its folder."""
    root, names = path.parent.resolve(), set()
    for tensor in tensors_of(read(path)):
        names |= {entry.value for entry in tensor.external_data if entry.key == "location"}
    for name in sorted(names):
        place = (root / name).resolve()
        if Path(name).is_absolute() or not place.is_relative_to(root):
            raise IceboxError(
                f"weights: {path}: its data lie outside of its folder, in {name}; save the network as one file, or "
                "with its data beside it"
            )
        if not place.is_file():
            raise IceboxError(f"weights: {path}: its data are missing: found no file {name} beside it; bring both")
        if name in (FILE, "backbone.json"):
            raise IceboxError(f"weights: {path}: its data are called {name}, which is another file's name here")
    return sorted(names)


def read(path: Path) -> Any:
    """The graph of an ONNX file, without data in other files. Raises IceboxError for a file that is none."""
    import onnx

    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as reason:  # protobuf's errors, and others for a file without a graph
        raise IceboxError(f"weights: {path} is no ONNX file: {one_line(reason)}") from reason
    if not model.graph.node or not model.graph.output:
        raise IceboxError(f"weights: {path}: expected a network with outputs, found none in it")
    return model


def tensors_of(model: Any) -> Iterator[Any]:
    """All tensors that a model holds, those inside of its functions, branches and loops too."""
    yield from tensors_of_graph(model.graph)
    for function in model.functions:
        yield from tensors_of_nodes(function.node)


def tensors_of_graph(graph: Any) -> Iterator[Any]:
    """The tensors of a graph."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from tensors_of_nodes(graph.node)


def tensors_of_nodes(nodes: Iterable[Any]) -> Iterator[Any]:
    """The tensors among the attributes of nodes."""
    for node in nodes:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for graph in (attribute.g, *attribute.graphs):
                yield from tensors_of_graph(graph)


def sha256_of(folder: Path) -> str:
    """The sha256 of the network in a backbone's folder: of the file, or of it and its data's files."""
    own = fingerprint.of_file(folder / FILE)
    data = {name: fingerprint.of_file(folder / name) for name in data_files(folder / FILE)}
    return fingerprint.of_settings([own, data]) if data else own


def names_inside(model: Any) -> list[str]:
    """The names of all values that a graph computes, in its own order; the graph's outputs are among them."""
    return [name for node in model.graph.node for name in node.output if name]


def outputs_of(model: Any) -> list[str]:
    """The names of a graph's outputs."""
    return [value.name for value in model.graph.output]


def split_output(output: str, model: Any) -> tuple[str, str]:
    """(a value of the graph, a pooling) that an output stands for; `last` is the graph's first output.

    Raises IceboxError for a name that no value has. Names may hold colons, as TensorFlow's do.
    """
    known = names_inside(model)
    values = {*known, *outputs_of(model)}
    for name, pooling in ((output, ""), (output.rpartition(":")[0], output.rpartition(":")[2])):
        if name in values:
            return name, pooling
        if name == LAST:
            return outputs_of(model)[0], pooling
    name = output.rpartition(":")[0] or output
    raise IceboxError(f"outputs: no value named '{name}' in this file; {suggestion(name, [LAST, *outputs_of(model)])}")


def session(folder: Path, values: Sequence[str], *, device: str = "cpu") -> Any:
    """A session that computes these values of the network in `folder`, among them such as are no output of the graph.

    Raises IceboxError for a network that ONNX Runtime can't run.
    """
    require_packages()
    import onnxruntime

    model = read(folder / FILE)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = FATAL
    source: str | bytes = str(folder / FILE)
    if inner := [name for name in dict.fromkeys(values) if name not in outputs_of(model)]:
        for name in inner:
            model.graph.output.add().name = name
        source = model.SerializeToString()
        options.add_session_config_entry(DATA_FOLDER, str(folder.resolve()))
    on_gpu = device != "cpu" and "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    providers = [*(["CUDAExecutionProvider"] if on_gpu else []), "CPUExecutionProvider"]
    try:
        return onnxruntime.InferenceSession(source, options, providers=providers)
    except Exception as reason:  # its own kinds: no such operator, a newer version, shapes that can't be
        raise IceboxError(f"weights: ONNX Runtime can't run this network: {one_line(reason)}") from reason


def inputs_of(opened: Any) -> list[Input]:
    """The inputs of a session."""
    return [
        Input(each.name, each.type, tuple(side if isinstance(side, int) else None for side in each.shape))
        for each in opened.get_inputs()
    ]
