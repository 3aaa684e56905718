"""LoRA in small networks of transformers, torchvision and our own."""

import importlib.util

import numpy as np
import pytest
import torch
from torch import nn

from icebox.features.backbones import transformers as text_family
from icebox.features.backbones import transformers_vision as vision_family
from icebox.features.errors import IceboxError
from icebox.features.nn import blocks
from icebox.features.nn.layer_outputs import Inputs, LayerOutputs
from icebox.pipeline.adapters import lora
from icebox.pipeline.config.section import parse_section
from icebox.pipeline.config.unfreeze import Lora, UnfreezeOptions
from icebox.pipeline.unfreezing.freezing_schedule import FreezingSchedule
from tests.features.backbones import test_transformers_vision as vision
from tests.features.backbones.test_text_networks import CAUSAL, ENCODERS, tokenizer_folder

SIZE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
TEXTS = ["the cat sat on the mat .", "a dog", "far away from here , the dog runs"]
QV = {
    "gpt2": ["c_attn"],
    "llama": ["q_proj", "v_proj"],
    "modernbert": ["Wqkv"],
    "mpnet": ["q", "v"],
    "albert": ["query", "value"],
    "deberta-v2": ["query_proj", "value_proj"],
    "qwen3": ["q_proj", "v_proj"],
    "gpt_neox": ["query_key_value"],
}


@pytest.fixture(scope="module")
def text_backbone(tmp_path_factory):
    """A loader of text backbones with random weights, by model type."""
    tokens = tokenizer_folder(tmp_path_factory.mktemp("tokens"))

    def load(kind: str, outputs=("last:mean",)):
        folder = tmp_path_factory.mktemp(kind)
        network = (ENCODERS | CAUSAL)[kind] | {"model_type": kind, "vocab_size": 40}
        text_family.fetch(folder, weights="random", network=network, tokenizer=str(tokens), max_tokens=12)
        return text_family.load(folder, outputs=list(outputs), device="cpu")

    return load


def adapted(backbone, items, **options):
    """The schedule of a backbone with adapters, which then learn something."""
    backbone.layer_outputs.make_trainable()
    free = Lora(**({"lora": 2} | options))
    schedule = FreezingSchedule.for_backbone(backbone, UnfreezeOptions(free=free), backbone.inputs(items))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in backbone.layer_outputs.network.named_parameters():
            if ".lora_B." in name:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return schedule


def adapted_layers(backbone) -> list[str]:
    return sorted(
        {name.split(".lora_")[0] for name, _ in backbone.layer_outputs.network.named_parameters() if ".lora_" in name}
    )


@pytest.mark.parametrize("kind", QV)
def test_merged_and_saved_a_text_network_gives_what_it_gave_with_adapters(kind, text_backbone, tmp_path):
    backbone = text_backbone(kind)
    items = [backbone.prepare(text) for text in TEXTS]
    before = backbone.encode(items)["last:mean"]
    schedule = adapted(backbone, items)
    assert {name.rpartition(".")[2] for name in adapted_layers(backbone)} == set(QV[kind])
    assert all(".lora_" in name for name in schedule.free_parameters[0])
    with_adapters = backbone.encode(items)["last:mean"]
    assert np.abs(with_adapters - before).max() > 1e-3
    lora.merge(backbone.layer_outputs.network)
    assert not adapted_layers(backbone)
    backbone.save(tmp_path)
    again = text_family.load(tmp_path, outputs=["last:mean"], device="cpu")
    np.testing.assert_allclose(again.encode(items)["last:mean"], with_adapters, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("network", [vision.vit, vision.dinov2, vision.swin])
def test_merged_and_saved_a_vision_network_gives_what_it_gave_with_adapters(network, tmp_path):
    source, folder = tmp_path / "source", tmp_path / "backbone"
    made, processor = network()
    made.save_pretrained(source)
    processor.save_pretrained(source)
    vision_family.fetch(folder, weights=str(source))
    backbone = vision_family.load(folder, outputs=["last:mean"], device="cpu")
    items = [backbone.prepare(np.random.default_rng(i).integers(0, 255, (40, 40, 3), np.uint8)) for i in range(2)]
    adapted(backbone, items)
    with_adapters = backbone.encode(items)["last:mean"]
    lora.merge(backbone.layer_outputs.network)
    backbone.save(tmp_path / "tuned")
    again = vision_family.load(tmp_path / "tuned", outputs=["last:mean"], device="cpu")
    np.testing.assert_allclose(again.encode(items)["last:mean"], with_adapters, rtol=1e-5, atol=1e-5)


def test_adapters_that_have_learned_nothing_change_nothing_and_are_those_of_the_seed(text_backbone):
    drawn = []
    for seed in (0, 0, 1):
        backbone = text_backbone("mpnet")
        items = [backbone.prepare(text) for text in TEXTS]
        backbone.layer_outputs.make_trainable()
        before = backbone.encode(items)["last:mean"]
        torch.manual_seed(seed + 7)  # no matter
        options = UnfreezeOptions(free=Lora(lora=2), seed=seed)
        FreezingSchedule.for_backbone(backbone, options, backbone.inputs(items))
        np.testing.assert_array_equal(backbone.encode(items)["last:mean"], before)
        drawn.append([p for name, p in backbone.layer_outputs.network.named_parameters() if ".lora_A." in name])
    assert all(torch.equal(a, b) for a, b in zip(drawn[0], drawn[1], strict=True))
    assert not torch.equal(drawn[0][0], drawn[2][0])


def test_the_layers_are_told_and_what_learns_is_counted(text_backbone, caplog):
    backbone = text_backbone("mpnet")
    schedule = adapted(backbone, [backbone.prepare(text) for text in TEXTS])
    assert "lora: rank 2 in 4 linear layers (q, v)" in caplog.text
    assert schedule.parameters_trained(backbone.layer_outputs.network) == 4 * 2 * (16 + 16)


@pytest.mark.parametrize(
    ("targets", "layers"),
    [
        (["intermediate.dense"], ["0.intermediate.dense", "1.intermediate.dense"]),
        (["encoder.layer.1.*.q", "o"], ["0.attention.attn.o", "1.attention.attn.o", "1.attention.attn.q"]),
    ],
)
def test_targets_are_names_or_their_ends(text_backbone, targets, layers):
    backbone = text_backbone("mpnet")
    adapted(backbone, [backbone.prepare(text) for text in TEXTS], targets=targets)
    assert adapted_layers(backbone) == [f"encoder.layer.{layer}" for layer in layers]


def test_layers_that_no_output_depends_on_get_no_adapters(text_backbone):
    backbone = text_backbone("mpnet", ["encoder.layer.0:mean"])
    items = [backbone.prepare(text) for text in TEXTS]
    adapted(backbone, items, targets=["*"])
    assert all(name.startswith("encoder.layer.0.") for name in adapted_layers(backbone))
    with pytest.raises(IceboxError, match=r"targets: 'pooler.dense' is no linear layer that .* there are dense, k"):
        adapted(text_backbone("mpnet"), items, targets=["pooler.dense"])


def test_an_output_that_is_an_adapted_layer_is_its_adapted_output(text_backbone):
    name = "encoder.layer.1.attention.attn.q"
    backbone = text_backbone("mpnet", [name + ":mean", "last:mean"])
    items = [backbone.prepare(text) for text in TEXTS]
    before = backbone.encode(items)[name + ":mean"]
    adapted(backbone, items, targets=[name])
    with_adapter = backbone.encode(items)[name + ":mean"]
    assert np.abs(with_adapter - before).max() > 1e-3
    lora.merge(backbone.layer_outputs.network)
    np.testing.assert_allclose(backbone.encode(items)[name + ":mean"], with_adapter, rtol=1e-5, atol=1e-5)


class Borrower(nn.Module):
    """A network that reads one layer's weight without calling it, as torchvision's Swin does, and calls another."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.fc = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(nn.functional.linear(x, self.qkv.weight, self.qkv.bias))


class Flattened(nn.Module):
    """A network of one convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).flatten(1)


def added(network: nn.Module, x: torch.Tensor, **options) -> set[str]:
    outputs = LayerOutputs(network, ["last"])
    outputs.make_trainable()

    def run():
        return outputs.tensors(Inputs((x,))).values()

    return lora.add(network, Lora(**({"lora": 2} | options)), blocks.names(network, run), run, seed=0)


def test_a_layer_whose_weight_is_only_read_gets_no_adapter():
    free = added(Borrower(), torch.randn(3, 4))
    assert {name.split(".lora_")[0] for name in free} == {"fc"}


@pytest.mark.parametrize(
    "network", [nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.Flatten()), Flattened()]
)
def test_a_network_without_linear_layers_is_refused_in_a_line(network):
    with pytest.raises(IceboxError, match="lora adapts linear layers, and no output of this network depends") as e:
        added(network, torch.randn(2, 3, 8, 8))
    assert "\n" not in str(e.value)


def test_without_peft_a_line_names_what_to_install(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "peft" else find_spec(name))
    with pytest.raises(IceboxError, match=r"lora needs peft, which is not installed; pip install 'icebox\[lora\]'"):
        added(nn.Linear(4, 4), torch.randn(3, 4))


@pytest.mark.parametrize(
    ("free", "message"),
    [
        ({"lora": 0}, "unfreeze.x.free.lora: Input should be greater than or equal to 1, found 0"),
        ({"lora": 8, "alpa": 1}, "unfreeze.x.free.alpa: no such key; did you mean 'alpha'"),
        ({"lora": 8, "targets": []}, "unfreeze.x.free.targets: List should have at least 1 item"),
        ({"lora": "8"}, "unfreeze.x.free.lora: Input should be a valid integer, found '8'"),
        ({0: {"lora": 8}}, "unfreeze.x.free: lora holds in all epochs"),
        (8, "unfreeze.x.free"),
    ],
)
def test_settings_that_can_not_be_are_a_line(free, message):
    with pytest.raises(IceboxError, match=message) as error:
        parse_section(UnfreezeOptions, {"free": free}, "unfreeze.x")
    assert "\n" not in str(error.value)
