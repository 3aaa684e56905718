"""ONNX files as networks: features equal those of the torch network that was exported, and errors are one line."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from icebox.features.abc.dataset import Pair
from icebox.features.errors import IceboxError
from icebox.features.extraction.extract import fingerprint_of
from icebox.features.nn.pooling import pool
from icebox.features.weights import onnx_files

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from icebox.features.backbones import onnx as family  # noqa: E402

RNG = np.random.default_rng(0)
PICTURES = [RNG.integers(0, 256, shape, np.uint8) for shape in ((8, 8), (40, 30, 3), (90, 120, 3))]
TEXTS = ["", "one", "a cat sat on the mat", "x " * 90, "naïve café"]
WORDS = ["[PAD]", "[UNK]", "a", "cat", "sat", "on", "the", "mat", "one", "x"]


def tensor(name: str, values: np.ndarray) -> Any:
    return onnx.numpy_helper.from_array(np.asarray(values), name)


def save(
    path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: list[Any], **options: Any
) -> Path:
    graph = onnx.helper.make_graph(nodes, "net", inputs, outputs, weights)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path, **options)
    return path


def info(name: str, shape: list[Any], kind: int = 1) -> Any:
    return onnx.helper.make_tensor_value_info(name, kind, shape)


class Net(nn.Module):
    """Two convolutions and a linear layer, of 3 or 1 channels."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(channels, 4, 3, padding=1), nn.Conv2d(4, 6, 3, stride=2)
        self.linear = nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        first = torch.relu(self.first(x))
        second = self.second(first)
        return {"first": first, "second": second, "logits": self.linear(second.mean((2, 3)))}


def picture_network(path: Path, shape: tuple[Any, ...] = ("b", 3, "h", "w"), **options: Any) -> Path:
    net = Net(channels=shape[1] if isinstance(shape[1], int) else 3)
    weights = [tensor(name, values.detach().numpy()) for name, values in net.state_dict().items()]
    node = onnx.helper.make_node
    nodes = [
        node("Conv", ["x", "first.weight", "first.bias"], ["conv"], pads=[1, 1, 1, 1]),
        node("Relu", ["conv"], ["block/relu:0"]),
        node("Conv", ["block/relu:0", "second.weight", "second.bias"], ["grid"], strides=[2, 2]),
        node("ReduceMean", ["grid"], ["pooled"], axes=[2, 3], keepdims=0),
        node("Gemm", ["pooled", "linear.weight", "linear.bias"], ["logits"], transB=1),
        node("ReduceMean", ["logits"], ["total"], keepdims=0),
    ]
    outputs = [info("logits", [shape[0], 5]), info("grid", [shape[0], 6, "p", "q"]), info("total", [])]
    return save(path, nodes, [info("x", list(shape))], outputs, weights, **options)


def text_network(path: Path, shape: tuple[Any, ...] = ("b", "t"), inputs: tuple[str, ...] = ("input_ids",)) -> Path:
    """A vector for each token, plus the vector of its text (0 or 1) where the network takes that."""
    node = onnx.helper.make_node
    table = np.random.default_rng(1).normal(size=(len(WORDS), 4)).astype(np.float32)
    nodes = [node("Gather", ["table", "input_ids"], ["vectors"])]
    last = "vectors"
    for i, name in enumerate(name for name in inputs if name != "input_ids"):
        nodes += [
            node("Cast", [name], [f"cast{i}"], to=1),
            node("Unsqueeze", [f"cast{i}", "axis"], [f"column{i}"]),
            node("Add", [last, f"column{i}"], [f"sum{i}"]),
        ]
        last = f"sum{i}"
    nodes.append(node("Identity", [last], ["hidden"]))
    weights = [tensor("table", table), tensor("axis", np.array([2]))]
    return save(path, nodes, [info(name, list(shape), 7) for name in inputs], [info("hidden", [*shape, 4])], weights)


def tokenizer(folder: Path) -> Path:
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]")
    made = tokenizers.Tokenizer(words)
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def loaded(tmp_path: Path, weights: Path, outputs: list[str] | None = None, **settings: Any) -> family.OnnxBackbone:
    family.fetch(tmp_path / "net", weights=str(weights), **settings)
    return family.load(tmp_path / "net", outputs=outputs or [], device="cpu")


@pytest.mark.parametrize("shape", [("b", 3, "h", "w"), (1, 3, 16, 16), (4, 3, 16, 16), ("b", 1, 16, 16)])
def test_pictures_get_the_features_of_the_torch_network(tmp_path, shape):
    outputs = ["last", "logits", "grid:avg", "grid:map", "block/relu:0:max", "pooled"]
    norm = {"mean": [0.5], "std": [0.25]} if shape[1] == 1 else {}
    network = loaded(tmp_path, picture_network(tmp_path / "net.onnx", shape), outputs, size=16, **norm)
    prepared = [network.prepare(picture) for picture in PICTURES]
    features = network.encode(prepared)
    mean, std = (torch.tensor(network.spec["preprocess"][key])[:, None, None] for key in ("mean", "std"))
    batch = torch.stack([(picture.float() / 255 - mean) / std for picture in prepared])
    net = Net(shape[1])
    with torch.no_grad():
        by_torch = net(batch)
    second = by_torch["second"]
    expected = {
        "last": by_torch["logits"], "logits": by_torch["logits"], "grid:avg": second.mean((2, 3)),
        "grid:map": second.permute(0, 2, 3, 1), "block/relu:0:max": by_torch["first"].amax((2, 3)),
        "pooled": second.mean((2, 3)),
    }  # fmt: skip
    for output, values in expected.items():
        np.testing.assert_allclose(features[output], values.numpy(), atol=1e-5)


def test_without_outputs_the_first_is_taken_and_pooled_and_the_size_may_be_another(tmp_path):
    network = loaded(tmp_path, picture_network(tmp_path / "net.onnx"), size=[16, 24])
    assert network.outputs == ("last",)
    assert network.prepare(PICTURES[2]).shape == (3, 16, 24)
    other = family.load(tmp_path / "net", outputs=["grid:map"], device="cpu", size=[32, 48])
    assert other.encode([other.prepare(PICTURES[2])])["grid:map"].shape == (1, 15, 23, 6)


@pytest.mark.parametrize("shape", [("b", "t"), (1, "t"), (2, 12)])
@pytest.mark.parametrize("inputs", [("input_ids",), ("input_ids", "attention_mask", "token_type_ids", "position_ids")])
def test_texts_get_the_vectors_of_their_tokens_whatever_stands_beside_them(tmp_path, shape, inputs):
    outputs = ["last:mean", "hidden:tokens", "vectors:max"]
    settings = {"tokenizer": tokenizer(tmp_path)} | ({} if shape[1] == 12 else {"max_tokens": 12})
    network = loaded(tmp_path, text_network(tmp_path / "net.onnx", shape, inputs), outputs, **settings)
    assert network.modality == "text"
    prepared = [network.prepare(text) for text in [*TEXTS, Pair("a cat", "the mat sat")]]
    features = network.encode(prepared)
    table = np.random.default_rng(1).normal(size=(len(WORDS), 4)).astype(np.float32)
    for i, tokens in enumerate(prepared):
        vectors = table[tokens.ids]
        hidden = vectors.copy()
        if len(inputs) > 1:
            hidden += (1 + np.array(tokens.sides) + np.arange(len(tokens.ids)))[:, None]
        np.testing.assert_allclose(features["hidden:tokens"][i], hidden, atol=1e-5)
        np.testing.assert_allclose(features["last:mean"][i], hidden.mean(0), atol=1e-5)
        np.testing.assert_allclose(features["vectors:max"][i], vectors.max(0), atol=1e-5)
    assert [network.was_cut(tokens) for tokens in prepared] == [False, False, False, True, False, False]
    assert network.prepare(Pair("a cat", "the mat sat")).sides == [0, 0, 1, 1, 1]


def test_texts_without_outputs_are_averaged(tmp_path):
    network = loaded(tmp_path, text_network(tmp_path / "net.onnx"), tokenizer=tokenizer(tmp_path), max_tokens=8)
    assert network.outputs == ("last:mean",)


def test_the_fingerprint_is_the_files_and_that_of_its_data(tmp_path):
    whole = loaded(tmp_path / "a", picture_network(tmp_path / "whole.onnx"), size=16)
    path = picture_network(
        tmp_path / "apart" / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0
    )
    apart = loaded(tmp_path / "b", path, ["logits", "conv:avg"], size=16)
    prepared = [whole.prepare(picture) for picture in PICTURES]
    np.testing.assert_allclose(apart.encode(prepared)["logits"], whole.encode(prepared)["last"], atol=1e-6)
    before = fingerprint_of(apart.spec)
    data = tmp_path / "b" / "net" / "net.data"
    data.write_bytes(b"\x00" * len(data.read_bytes()))
    assert fingerprint_of(family.load(tmp_path / "b/net", outputs=["logits", "conv:avg"], device="cpu").spec) != before
    assert whole.spec["weights"] != apart.spec["weights"]


def test_layers_are_described_with_their_shapes(tmp_path):
    network = loaded(tmp_path, picture_network(tmp_path / "net.onnx", (2, 3, 16, 16)))
    shapes = network.layer_shapes([network.prepare(PICTURES[0])])
    assert shapes == {
        "conv": (1, 4, 16, 16), "block/relu:0": (1, 4, 16, 16), "pooled": (1, 6), "logits": (1, 5),
        "grid": (1, 6, 7, 7),
    }  # fmt: skip


def test_another_runtime_is_refused(tmp_path):
    network = loaded(tmp_path, picture_network(tmp_path / "net.onnx"), size=16)
    with pytest.raises(IceboxError, match=r"runtime: openvino is not for backbones of family 'onnx'"):
        network.use_runtime("openvino")


ANY = ("b", 3, "h", "w")


@pytest.mark.parametrize(
    ("shape", "settings", "expected"),
    [
        (ANY, {}, r"size: the network takes pictures of any size \(x: tensor\(float\) \(any, 3, any, any\)\); say"),
        (
            ("b", 3, 16, 16),
            {"size": 24},
            r"size: the network takes no pictures of 24×24 pixels, only x: tensor\(float\)",
        ),
        (ANY, {"size": 16, "mean": [0.5], "std": [0.5]}, r"mean, std: expected 3 numbers each, one a channel of x"),
        (ANY, {"size": 16, "max_tokens": 8}, r"max_tokens: is for networks of texts; name their `tokenizer`"),
        (ANY, {"size": 16, "sha256": "0" * 64}, r"is not the pinned file"),
        (ANY, {"size": 2}, r"the network can't take x \(1, 3, 2, 2\)"),
    ],
)
def test_pictures_that_do_not_fit_are_one_line(tmp_path, shape, settings, expected):
    path = picture_network(tmp_path / "net.onnx", shape)
    with pytest.raises(IceboxError, match=rf"^[^\n]*{expected}[^\n]*$"):
        loaded(tmp_path, path, **settings)


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        (["logit"], "outputs: no value named 'logit' in this file; did you mean 'logits'?"),
        (["grid"], "pooling '' does not fit an output of shape"),
        (["logits:avg"], "pooling 'avg' does not fit"),
        (["total"], "outputs: 'total': expected a row an item"),
    ],
)
def test_outputs_that_are_not_there_are_one_line(tmp_path, outputs, expected):
    with pytest.raises(IceboxError, match=rf"^[^\n]*{re.escape(expected)}[^\n]*$"):
        loaded(tmp_path, picture_network(tmp_path / "net.onnx"), outputs, size=16)


def with_input(path: Path, *inputs: tuple[str, list[Any], int]) -> Path:
    """A network that passes its first input on, of any kind and shape."""
    name, shape, kind = inputs[0]
    nodes = [onnx.helper.make_node("Identity", [name], ["y"])]
    return save(path, nodes, [info(*each) for each in inputs], [info("y", shape, kind)], [])


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ([("x", ["b", 16, 16, 3], 1)], "export it with the channels first"),
        ([("x", ["b", "h", "w", 3], 1)], "export it with the channels first"),
        (
            [("x", ["b", 10], 1)],
            "expected one input (batch, channels, height, width) of floats, found x: tensor(float)",
        ),
        ([("x", ["b", 3, 16, 16], 2)], "found x: tensor(uint8)"),
        (
            [("x", ["b", 3, 16, 16], 1), ("z", [1], 1)],
            "found 2: x: tensor(float) (any, 3, 16, 16); z: tensor(float) (1)",
        ),
        ([("input_ids", ["b", "t"], 7)], "takes token ids (input_ids: tensor(int64) (any, any)); name the `tokenizer`"),
    ],
)
def test_inputs_that_are_no_pictures_are_one_line(tmp_path, inputs, expected):
    with pytest.raises(IceboxError, match=rf"^[^\n]*{re.escape(expected)}[^\n]*$"):
        loaded(tmp_path, with_input(tmp_path / "net.onnx", *inputs), size=16)


@pytest.mark.parametrize(
    ("shape", "settings", "expected"),
    [
        (("b", "t"), {}, "max_tokens: neither the file nor the tokenizer says where texts are cut"),
        (("b", 12), {"max_tokens": 8}, "max_tokens: the network takes 12 tokens, no more and no fewer"),
        (("b", 12), {"size": 16}, "size: is for networks of pictures"),
        (("b", 12), {"tokenizer": Path("nowhere.json")}, "tokenizer: expected a tokenizer.json, found no such file"),
        (("b", 12), {"tokenizer": Path("broken.json")}, "is none: "),
    ],
)
def test_texts_that_do_not_fit_are_one_line(tmp_path, monkeypatch, shape, settings, expected):
    monkeypatch.chdir(tmp_path)
    Path("broken.json").write_text("{}")
    with pytest.raises(IceboxError, match=rf"^[^\n]*{re.escape(expected)}[^\n]*$"):
        loaded(tmp_path, text_network(tmp_path / "net.onnx", shape), **({"tokenizer": tokenizer(tmp_path)} | settings))


def test_other_inputs_than_a_texts_are_one_line(tmp_path):
    path = with_input(tmp_path / "net.onnx", ("words", ["b", "t"], 7))
    with pytest.raises(IceboxError, match=r"^[^\n]*named input_ids, .*, found words: tensor\(int64\) \(any, any\)$"):
        loaded(tmp_path, path, tokenizer=tokenizer(tmp_path), max_tokens=8)


@pytest.mark.parametrize("location", ["../net.data", "/net.data", "sub/../../net.data", "link.data", "gone.data"])
def test_data_outside_of_the_files_folder_are_refused(tmp_path, location):
    path = picture_network(
        tmp_path / "in" / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0
    )
    shutil.move(tmp_path / "in/net.data", tmp_path / "net.data")
    (tmp_path / "in/link.data").symlink_to(tmp_path / "net.data")
    model = onnx.load(path, load_external_data=False)
    for each in onnx_files.tensors_of(model):
        for entry in each.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(model.SerializeToString())
    expected = "its data are missing" if location == "gone.data" else "its data lie outside of its folder"
    with pytest.raises(IceboxError, match=rf"^[^\n]*{expected}[^\n]*$"):
        loaded(tmp_path, path, size=16)


@pytest.mark.parametrize("content", [b"", b"no network at all", b"\x08\x09"])
def test_a_file_that_is_no_network_is_one_line(tmp_path, content):
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(IceboxError, match=r"^weights: [^\n]*(is no ONNX file|found none in it)[^\n]*$"):
        loaded(tmp_path, path, size=16)
    with pytest.raises(IceboxError, match=r"^weights: expected an ONNX file \(\.onnx\), found no such file [^\n]*$"):
        loaded(tmp_path, tmp_path / "gone.onnx", size=16)
    picture_network(path)
    half = path.read_bytes()
    path.write_bytes(half[: len(half) // 2])
    with pytest.raises(IceboxError, match=r"^weights: [^\n]*$"):
        loaded(tmp_path, path, size=16)


def test_an_operator_that_there_is_not_is_one_line(tmp_path):
    node = onnx.helper.make_node("Unheard", ["x"], ["y"], domain="nobody.knows")
    graph = onnx.helper.make_graph([node], "net", [info("x", ["b", 3, 16, 16])], [info("y", ["b", 3])])
    model = onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("nobody.knows", 1)],
        ir_version=9,
    )
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(IceboxError, match=r"^weights: ONNX Runtime can't run this network: [^\n]*$"):
        loaded(tmp_path, tmp_path / "net.onnx")


def test_poolings_are_torchs(tmp_path):
    network = loaded(tmp_path, picture_network(tmp_path / "net.onnx"), ["grid:grid-2", "grid:flatten"], size=16)
    features = network.encode([network.prepare(PICTURES[1])])
    grid = features["grid:flatten"].reshape(1, 6, 7, 7)
    np.testing.assert_allclose(features["grid:grid-2"], pool(torch.from_numpy(grid), "grid-2").numpy(), atol=1e-6)
