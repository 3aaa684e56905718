"""CLIP and SigLIP: images and texts in one space."""

import numpy as np
import pytest
import torch

from icebox.features.backbones import transformers, transformers_vision
from tests.features.backbones.test_transformers import TEXTS, library, word_tokenizer

SIZE = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture(params=["CLIP", "Siglip"])
def towers(request, tmp_path):
    """A network of two towers with random weights, and the folder that it was saved in."""
    named = library()
    special = {"bos_token_id": 2, "eos_token_id": 30, "pad_token_id": 0}
    text = {"vocab_size": 31, "max_position_embeddings": 12, **special, **SIZE}
    sides = {"text_config": text, "vision_config": {"image_size": 16, "patch_size": 8, **SIZE}}
    config = getattr(named, f"{request.param}Config")(**sides, projection_dim=8)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = getattr(named, f"{request.param}Model")(config).eval()
    tokens = ["[PAD]", "[UNK]", "[CLS]", *(f"x{i}" for i in range(11))]
    tokenizer = word_tokenizer(tokens, None, unk_token="[UNK]", pad_token="[PAD]", model_max_length=12)
    with transformers.silence():
        network.save_pretrained(tmp_path / "source")
        tokenizer.save_pretrained(tmp_path / "source")
        named.ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(tmp_path / "source")
    return network, tmp_path


def test_the_embedding_of_an_image_is_the_librarys_also_once_the_tower_is_saved_alone(towers):
    network, folder = towers
    transformers_vision.fetch(folder / "net", weights=str(folder / "source"))
    backbone = transformers_vision.load(folder / "net", outputs=["embedding", "last:avg"], device="cpu")
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    found = backbone.encode([backbone.prepare(picture)])["embedding"]
    with torch.no_grad():
        expected = network.get_image_features(*backbone.inputs([backbone.prepare(picture)]).args).pooler_output
    np.testing.assert_allclose(found, expected, atol=1e-5)
    backbone.save(folder / "saved")
    again = transformers_vision.load(folder / "saved", outputs=["embedding"], device="cpu")
    np.testing.assert_allclose(again.encode([again.prepare(picture)])["embedding"], found, atol=1e-6)


def test_the_embedding_of_a_text_is_the_librarys_also_once_the_tower_is_saved_alone(towers):
    network, folder = towers
    transformers.fetch(folder / "net", weights=str(folder / "source"))
    backbone = transformers.load(folder / "net", outputs=["embedding"], device="cpu")
    prepared = [backbone.prepare(text) for text in TEXTS]
    found = backbone.encode(prepared)["embedding"]
    for row, item in zip(found, prepared, strict=True):
        with torch.no_grad():
            expected = network.get_text_features(**backbone.inputs([item]).kwargs).pooler_output[0]
        np.testing.assert_allclose(row, expected, atol=1e-5)
    backbone.save(folder / "saved")
    again = transformers.load(folder / "saved", outputs=["embedding"], device="cpu")
    np.testing.assert_allclose(again.encode(prepared)["embedding"], found, atol=1e-6)
