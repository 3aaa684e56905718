import json

import pytest
import torch
from safetensors.torch import save_file

from icebox.features.errors import IceboxError
from icebox.features.weights import image_processors, transformers_checkpoints, transformers_models

CODE = {"AutoConfig": "code.Config", "AutoModel": "code.Model", "AutoTokenizer": ["code.Tokenizer", None]}
CODE |= {"AutoImageProcessor": "code.Processor"}
READERS = {
    "network": lambda folder: transformers_models.load_network(folder, also="tokenizer"),
    "random": lambda folder: transformers_models.random_parameters(folder, 0),
    "shape": transformers_checkpoints.empty_network,
    "tokenizer": transformers_models.load_tokenizer,
    "processor": image_processors.preprocess_of,
}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "net"
    folder.mkdir()
    for name in ("config.json", "tokenizer_config.json", "preprocessor_config.json"):
        (folder / name).write_text(json.dumps({"model_type": "unheard-of", "auto_map": CODE}))
    (folder / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    save_file({"weight": torch.zeros(1)}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("reader", READERS)
def test_code_of_a_folder_is_refused_unasked(reader, folder, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("builtins.input", lambda prompt="": asked.append(prompt) or "y")
    with pytest.raises(IceboxError, match="transformers can't"):
        READERS[reader](folder)
    assert not asked
    assert not (tmp_path / "ran").exists()
