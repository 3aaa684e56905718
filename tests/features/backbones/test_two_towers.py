"""Networks of two towers: images and texts in one space, each tower by itself."""

import json

import numpy as np
import pytest
import torch

from icebox.features.backbones import transformers, transformers_vision
from icebox.features.errors import IceboxError
from icebox.features.nn import blocks
from icebox.features.weights.transformers_models import silence
from tests.features.backbones.test_transformers import TEXTS, library, word_tokenizer

SIZE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
PICTURE = {"image_size": 16, "patch_size": 8, **SIZE}
ALIGN = {"hidden_dim": 16, "image_size": 16, "in_channels": [32], "out_channels": [16], "kernel_sizes": [3],
         "strides": [2], "num_block_repeats": [1], "expand_ratios": [2], "depthwise_padding": [],
         "width_coefficient": 1.0, "depth_coefficient": 1.0}  # fmt: skip
KINDS = {  # class: (what its config needs, settings of the text tower, of the tower of images)
    "CLIP": ({"projection_dim": 8}, {"projection_dim": 8}, PICTURE),
    "Siglip": ({}, {"projection_size": 16}, PICTURE),
    "Align": ({"projection_dim": 16}, {}, ALIGN),
    "ChineseCLIP": ({"projection_dim": 8}, {}, PICTURE),
    "AltCLIP": ({"projection_dim": 8}, {"project_dim": 16, "max_position_embeddings": 14}, PICTURE),
    "MetaClip2": ({"projection_dim": 8}, {}, PICTURE),
    "Aimv2": ({"projection_dim": 8}, {}, PICTURE),
    "Siglip2": ({}, {"projection_size": 16}, {"patch_size": 8, "num_patches": 4, **SIZE}),
}
SPECIAL = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}


def save_towers(kind, folder, **of_image):
    """A network of two towers with random weights, and the folder that it was saved in, with all that is fetched."""
    named = library()
    whole, text, image = KINDS[kind]
    sides = {
        "text_config": {"vocab_size": 31, "max_position_embeddings": 12, **SPECIAL, **SIZE, **text},
        "vision_config": {**image, **of_image},
    }
    with torch.random.fork_rng(), silence():
        torch.manual_seed(0)
        network = getattr(named, f"{kind}Model")(getattr(named, f"{kind}Config")(**sides, **whole)).eval()
        tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
        tokenizer = word_tokenizer(
            tokens, "[CLS] $A [SEP]", unk_token="[UNK]", pad_token="[PAD]", eos_token="[SEP]", model_max_length=12
        )
        network.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        named.ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder)
    return network


@pytest.fixture(scope="module", params=KINDS)
def towers(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return save_towers(request.param, folder / "source"), folder


def picture(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)


def take_a_step(backbone, prepared):
    """One step of the last block but one, as unfreezing takes it."""
    backbone.layer_outputs.make_trainable()
    network, inputs = backbone.layer_outputs.network, backbone.inputs(prepared)
    names = blocks.names(network, lambda: backbone.layer_outputs.tensors(inputs).values())
    parameters = list(network.get_submodule(names[-2]).requires_grad_(True).parameters())
    (backbone.layer_outputs.tensors(inputs)["embedding"] * torch.arange(len(prepared))[:, None]).sum().backward()
    torch.optim.SGD(parameters, lr=0.5).step()


def test_the_embedding_of_an_image_is_the_librarys_and_its_tower_is_trained_and_saved_alone(towers):
    network, folder = towers
    transformers_vision.fetch(folder / "images", weights=str(folder / "source"))
    if type(network).__name__ == "Siglip2Model":
        with pytest.raises(IceboxError, match=r"^[^\n]*siglip2[^\n]*patches of any number[^\n]*$"):
            transformers_vision.load(folder / "images", outputs=["embedding"], device="cpu")
        return
    backbone = transformers_vision.load(folder / "images", outputs=["embedding"], device="cpu")
    prepared = [backbone.prepare(picture(seed)) for seed in range(3)]
    embedded = backbone.encode(prepared)["embedding"]
    with torch.no_grad():
        expected = network.get_image_features(*backbone.inputs(prepared).args).pooler_output
    np.testing.assert_allclose(embedded, expected, atol=1e-5)
    take_a_step(backbone, prepared)
    trained = backbone.encode(prepared)["embedding"]
    assert np.any(trained != embedded)
    backbone.save(folder / "images alone")
    again = transformers_vision.load(folder / "images alone", outputs=["embedding"], device="cpu")
    np.testing.assert_allclose(again.encode(prepared)["embedding"], trained, atol=1e-5)


def test_the_embedding_of_a_text_is_the_librarys_and_its_tower_is_trained_and_saved_alone(towers):
    network, folder = towers
    transformers.fetch(folder / "texts", weights=str(folder / "source"))
    if type(network).__name__ == "Aimv2Model":
        with pytest.raises(IceboxError, match=r"^texts: aimv2_text_model sees[^\n]+$"):
            transformers.load(folder / "texts", outputs=["embedding"], device="cpu")
        return
    backbone = transformers.load(folder / "texts", outputs=["embedding"], device="cpu")
    prepared = [backbone.prepare(text) for text in TEXTS]
    embedded = backbone.encode(prepared)["embedding"]
    padded = type(network).__name__.startswith("Siglip")  # to the full length, without a mask, as its processor does
    for row, text in zip(embedded, TEXTS, strict=True):
        tokens = backbone.tokenizer(
            text, truncation=True, max_length=12, padding="max_length" if padded else False, return_tensors="pt"
        )
        kwargs = {"input_ids": tokens["input_ids"]} | ({} if padded else {"attention_mask": tokens["attention_mask"]})
        with torch.no_grad():
            expected = network.get_text_features(**kwargs).pooler_output[0]
        np.testing.assert_allclose(row, expected, atol=1e-5)
    take_a_step(backbone, prepared)
    trained = backbone.encode(prepared)["embedding"]
    assert np.any(trained != embedded)
    backbone.save(folder / "texts alone")
    again = transformers.load(folder / "texts alone", outputs=["embedding"], device="cpu")
    np.testing.assert_allclose(again.encode(prepared)["embedding"], trained, atol=1e-5)


def test_a_tower_of_clip_that_was_saved_before_its_class_was_written_down_is_still_loaded(tmp_path):
    save_towers("CLIP", tmp_path / "source")
    transformers.fetch(tmp_path / "net", weights=str(tmp_path / "source"))
    backbone = transformers.load(tmp_path / "net", outputs=["embedding"], device="cpu")
    backbone.save(tmp_path / "alone")
    settings = json.loads((tmp_path / "alone/backbone.json").read_text())
    (tmp_path / "alone/backbone.json").write_text(json.dumps(settings | {"tower": True}))
    again = transformers.load(tmp_path / "alone", outputs=["embedding"], device="cpu")
    prepared = [backbone.prepare(text) for text in TEXTS]
    np.testing.assert_allclose(again.encode(prepared)["embedding"], backbone.encode(prepared)["embedding"], atol=1e-6)


def test_a_siglip_without_its_pooling_head_has_no_embedding(tmp_path):
    save_towers("Siglip", tmp_path / "source", vision_use_head=False)
    transformers_vision.fetch(tmp_path / "net", weights=str(tmp_path / "source"))
    backbone = transformers_vision.load(tmp_path / "net", outputs=["embedding"], device="cpu")
    with pytest.raises(IceboxError, match=r"^outputs: this tower has no pooled vector[^\n]+$"):
        backbone.encode([backbone.prepare(picture())])


def test_a_projection_that_the_weights_lack_is_refused_for_the_embedding_alone(tmp_path):
    from safetensors.torch import load_file, save_file

    save_towers("CLIP", tmp_path / "source")
    file = tmp_path / "source/model.safetensors"
    save_file({k: v for k, v in load_file(file).items() if "projection" not in k}, file, metadata={"format": "pt"})
    transformers_vision.fetch(tmp_path / "images", weights=str(tmp_path / "source"))
    transformers.fetch(tmp_path / "texts", weights=str(tmp_path / "source"))
    for family, folder in ((transformers_vision, tmp_path / "images"), (transformers, tmp_path / "texts")):
        family.load(folder, outputs=["last:cls"], device="cpu")
        with pytest.raises(IceboxError, match=r"lack '(visual|text)_projection.weight', which the output 'embedding'"):
            family.load(folder, outputs=["embedding"], device="cpu")


@pytest.mark.parametrize(("kind", "alone"), [("CLIP", "CLIPTextModelWithProjection"), ("Siglip", "SiglipTextModel")])
def test_a_text_tower_that_the_library_saved_by_itself_is_taken_with_its_embedding(kind, alone, tmp_path):
    save_towers(kind, tmp_path / "source")
    transformers.fetch(tmp_path / "whole", weights=str(tmp_path / "source"))
    with silence():
        tower = getattr(library(), alone).from_pretrained(tmp_path / "source")
    tower.save_pretrained(tmp_path / "source")  # over config and weights, beside the tokenizer
    transformers.fetch(tmp_path / "alone", weights=str(tmp_path / "source"))
    whole, one = (
        transformers.load(tmp_path / name, outputs=["embedding"], device="cpu") for name in ("whole", "alone")
    )
    prepared = [whole.prepare(text) for text in TEXTS]
    np.testing.assert_allclose(one.encode(prepared)["embedding"], whole.encode(prepared)["embedding"], atol=1e-6)


def test_the_backbone_of_images_has_the_text_tower_with_the_factor_and_the_bias_of_its_logits(towers):
    network, folder = towers
    kind = type(network).__name__
    transformers_vision.fetch(folder / "both", weights=str(folder / "source"))
    if kind == "Aimv2Model":
        return
    tower = transformers_vision.text_tower(folder / "both", device="cpu")
    transformers.fetch(folder / "text half", weights=str(folder / "source"))
    alone = transformers.load(folder / "text half", outputs=["embedding"], device="cpu")
    prepared = [alone.prepare(text) for text in TEXTS]
    np.testing.assert_array_equal(
        tower.encoder.encode([tower.encoder.prepare(text) for text in TEXTS])["embedding"],
        alone.encode(prepared)["embedding"],
    )
    parameters = {name: value.detach() for name, value in network.named_parameters(recurse=False)}
    scale = 1 / parameters["temperature"] if kind == "AlignModel" else parameters["logit_scale"].exp()
    assert tower.logit_scale == pytest.approx(float(scale))
    assert tower.logit_bias == pytest.approx(float(parameters["logit_bias"]) if kind.startswith("Siglip") else 0)


def test_a_backbone_without_its_text_tower_or_tokenizer_says_so(tmp_path):
    save_towers("CLIP", tmp_path / "source")
    transformers_vision.fetch(tmp_path / "net", weights=str(tmp_path / "source"))
    transformers_vision.load(tmp_path / "net", outputs=["embedding"], device="cpu").save(tmp_path / "alone")
    with pytest.raises(IceboxError, match=r"^alone: was trained or saved without its text tower[^\n]*$"):
        transformers_vision.text_tower(tmp_path / "alone", device="cpu")
    (tmp_path / "net/tokenizer.json").unlink()
    with pytest.raises(IceboxError, match=r"^net: has no tokenizer for its text tower: [^\n]*$"):
        transformers_vision.text_tower(tmp_path / "net", device="cpu")
