import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from icebox.features.backbones import transformers, transformers_vision
from icebox.features.errors import IceboxError
from icebox.features.weights import transformers_models
from tests.features.backbones.test_transformers import TEXTS, encoded, gpt2, save


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    return save(tmp_path_factory.mktemp("bert") / "net")


def features(folder: Path) -> np.ndarray:
    return encoded(transformers.load(folder, outputs=["last:mean"], device="cpu"), *TEXTS)["last:mean"]


WRAPPED = {
    "prefix": lambda tensors: {f"module.encoder.{key}": value for key, value in tensors.items()},
    "compiled": lambda tensors: {f"_orig_mod.{key}": value for key, value in tensors.items()},
    "lightning": lambda tensors: (
        {f"model.bert.{key}": value for key, value in tensors.items()} | {"model.classifier.weight": torch.ones(3, 16)}
    ),
}


@pytest.mark.parametrize("wrap", WRAPPED)
@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
def test_a_folder_whose_weights_have_another_prefix_is_the_same_network(bert, tmp_path, wrap, suffix, caplog):
    caplog.set_level("INFO", "icebox")
    folder = shutil.copytree(bert, tmp_path / "net")
    tensors = WRAPPED[wrap](load_file(folder / "model.safetensors"))
    (folder / "model.safetensors").unlink()
    if suffix == ".bin":
        torch.save(tensors, folder / "pytorch_model.bin")
    else:
        save_file(tensors, folder / "model.safetensors")
    transformers.fetch(tmp_path / "plain", weights=str(bert))
    transformers.fetch(tmp_path / "made", weights=str(folder))
    np.testing.assert_array_equal(features(tmp_path / "made"), features(tmp_path / "plain"))
    assert any(f"{folder}: taken are " in message for message in caplog.messages)


def test_weights_that_transformers_reads_by_itself_are_copied_to_the_byte(bert, tmp_path):
    transformers.fetch(tmp_path / "made", weights=str(bert))
    assert (tmp_path / "made/model.safetensors").read_bytes() == (bert / "model.safetensors").read_bytes()


@pytest.mark.parametrize("wrap", WRAPPED)
def test_a_file_of_a_training_script_is_read_beside_the_folder_of_its_config(bert, tmp_path, wrap):
    tensors = WRAPPED[wrap](load_file(bert / "model.safetensors"))
    torch.save({"state_dict": tensors, "epoch": 3, "where": tmp_path}, tmp_path / "last.ckpt")
    transformers.fetch(tmp_path / "plain", weights=str(bert))
    transformers.fetch(tmp_path / "made", weights=str(tmp_path / "last.ckpt"), config=bert)
    np.testing.assert_array_equal(features(tmp_path / "made"), features(tmp_path / "plain"))


def test_a_causal_network_under_a_prefix_of_its_own_is_taken(tmp_path):
    net = save(tmp_path / "net", gpt2)
    tensors = {f"model.transformer.{key}": value for key, value in load_file(net / "model.safetensors").items()}
    torch.save({"state_dict": tensors}, tmp_path / "last.ckpt")
    transformers.fetch(tmp_path / "plain", weights=str(net))
    transformers.fetch(tmp_path / "made", weights=str(tmp_path / "last.ckpt"), config=net)
    np.testing.assert_array_equal(features(tmp_path / "made"), features(tmp_path / "plain"))


def test_what_a_file_lacks_is_named_and_a_file_alone_needs_its_config(bert, tmp_path):
    tensors = load_file(bert / "model.safetensors")
    tensors = {f"model.{key}": value for key, value in tensors.items() if "encoder.layer.1" not in key}
    torch.save(tensors, tmp_path / "last.ckpt")
    with pytest.raises(IceboxError, match=r"last\.ckpt does not fit .*config\.json: missing: encoder\.layer\.1\."):
        transformers.fetch(tmp_path / "made", weights=str(tmp_path / "last.ckpt"), config=bert)
    with pytest.raises(IceboxError, match="beside a file set `config`"):
        transformers.fetch(tmp_path / "made", weights=str(tmp_path / "last.ckpt"))


def test_a_vision_network_is_read_from_a_file_too(tmp_path):
    named = transformers_models.import_transformers()
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    named.ViTConfig(image_size=32, patch_size=8, architectures=["ViTModel"], **size).save_pretrained(tmp_path / "net")
    named.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "net")
    transformers_vision.fetch(tmp_path / "drawn", weights="random", config=tmp_path / "net")
    tensors = {f"model.vit.{key}": value for key, value in load_file(tmp_path / "drawn/model.safetensors").items()}
    torch.save({"state_dict": tensors | {"model.classifier.weight": torch.ones(2, 16)}}, tmp_path / "last.ckpt")
    transformers_vision.fetch(tmp_path / "made", weights=str(tmp_path / "last.ckpt"), config=tmp_path / "net")
    assert json.loads((tmp_path / "made/backbone.json").read_text())["weights_file"] == "model.safetensors"
    first, second = (
        transformers_vision.load(tmp_path / name, outputs=["last:avg"], device="cpu") for name in ("drawn", "made")
    )
    picture = np.full((40, 40, 3), 99, np.uint8)
    rows = [backbone.encode([backbone.prepare(picture)])["last:avg"] for backbone in (first, second)]
    np.testing.assert_array_equal(*rows)
