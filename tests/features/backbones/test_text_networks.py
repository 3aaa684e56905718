"""Text networks as their makers meant them: sentence-transformers' folders, prompts, causal networks, shards."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from icebox.features.backbones import transformers as family
from icebox.features.errors import IceboxError
from icebox.features.nn import blocks
from icebox.features.weights import sources
from tests.features.backbones.test_transformers import TEXTS, encoded, gpt2, library, save, word_tokenizer

HIDDEN = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
GROUPED = HIDDEN | {"num_key_value_heads": 2, "max_position_embeddings": 32, "head_dim": 8, "pad_token_id": 0}
ENCODERS = {
    "albert": HIDDEN | {"embedding_size": 16},
    "deberta-v2": HIDDEN,
    "electra": HIDDEN | {"embedding_size": 16},
    "modernbert": HIDDEN | {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3},
    "mpnet": HIDDEN,
    "xlm-roberta": HIDDEN | {"max_position_embeddings": 40},
}
CAUSAL = {
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2},
    "gpt_neox": HIDDEN,
    "llama": GROUPED,
    "mistral": GROUPED,
    "opt": HIDDEN | {"ffn_dim": 32, "word_embed_proj_dim": 16},
    "qwen2": GROUPED,
    "qwen3": GROUPED,
}


def tokenizer_folder(folder: Path) -> Path:
    first = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokens = word_tokenizer(
        first, "[CLS] $A [SEP]", unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )
    tokens.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Backbone folders with random weights, by model type."""
    made: dict[str, Path] = {}
    tokens = tokenizer_folder(tmp_path_factory.mktemp("tokens"))

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(kind)
            network = (ENCODERS | CAUSAL)[kind] | {"model_type": kind, "vocab_size": 40}
            family.fetch(made[kind], weights="random", network=network, tokenizer=str(tokens), max_tokens=12)
        return made[kind]

    return folder


@pytest.mark.parametrize("kind", [*ENCODERS, *CAUSAL])
def test_outputs_of_every_architecture_are_transformers_own_hidden_states_text_by_text(kind, drawn):
    backbone = family.load(drawn(kind), outputs=["last:mean", "last:cls", "last:final"], device="cpu")
    network = library().AutoModel.from_pretrained(drawn(kind), local_files_only=True, dtype=torch.float32).eval()
    tokenizer = library().AutoTokenizer.from_pretrained(drawn(kind), local_files_only=True)
    together = encoded(backbone, *TEXTS)
    for row, text in enumerate(TEXTS):
        ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=12)["input_ids"]
        with torch.no_grad():
            states = network(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
        for name, expected in (("mean", states.mean(0)), ("cls", states[0]), ("final", states[-1])):
            np.testing.assert_allclose(together[f"last:{name}"][row], expected, atol=2e-5)


@pytest.mark.parametrize("kind", [*ENCODERS, *CAUSAL])
def test_only_of_networks_that_look_back_alone_the_last_token_is_the_default(kind, drawn):
    backbone = family.load(drawn(kind), outputs=[], device="cpu")
    first = encoded(family.load(drawn(kind), outputs=["last:cls"], device="cpu"), "cat", "cat sat on mat")["last:cls"]
    looks_back_alone = np.abs(first[0] - first[1]).max() < 1e-5
    assert looks_back_alone == (kind in CAUSAL)
    assert backbone.outputs == (("last:final",) if looks_back_alone else ("last:mean",))


@pytest.mark.parametrize("kind", [*ENCODERS, *CAUSAL])
def test_every_architecture_has_blocks_and_takes_a_step(kind, drawn):
    backbone = family.load(drawn(kind), outputs=[], device="cpu")
    inputs = backbone.inputs([backbone.prepare(text) for text in TEXTS])
    backbone.layer_outputs.make_trainable()
    network = backbone.layer_outputs.network
    names = blocks.names(network, lambda: backbone.layer_outputs.tensors(inputs).values())
    assert len(names) >= 2
    before = backbone.encode([backbone.prepare("cat")])
    parameters = list(network.get_submodule(names[-2]).requires_grad_(True).parameters())
    target = backbone.layer_outputs.tensors(inputs)
    sum((values * torch.linspace(-1, 1, values.shape[1])).sum() for values in target.values()).backward()
    torch.optim.SGD(parameters, lr=0.5).step()
    after = backbone.encode([backbone.prepare("cat")])
    assert any(np.abs(before[name] - after[name]).max() > 0 for name in before)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_tokenizers_padding_side_makes_no_difference(side, tmp_path):
    folder = save(tmp_path / "net", gpt2)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"padding_side": side}))
    family.fetch(tmp_path / "made", weights=str(folder))
    backbone = family.load(tmp_path / "made", outputs=[], device="cpu")
    together = encoded(backbone, *TEXTS)["last:final"]
    for row, text in enumerate(TEXTS):
        np.testing.assert_allclose(together[row], encoded(backbone, text)["last:final"][0], atol=1e-5)


def sharded(folder: Path) -> Path:
    """A GPT-2 whose weights lie in two shards."""
    save(folder, gpt2)
    tensors = sources.checkpoints.read_tensors(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    places = {name: f"model-0000{1 + (i % 2)}-of-00002.safetensors" for i, name in enumerate(names)}
    for shard in set(places.values()):
        save_file({n: tensors[n] for n in names if places[n] == shard}, folder / shard, metadata={"format": "pt"})
    index = {"metadata": {"total_size": 0}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def test_weights_in_shards_are_those_of_one_file_and_every_shard_is_part_of_the_pin(tmp_path):
    whole, shards = save(tmp_path / "whole", gpt2), sharded(tmp_path / "shards")
    rows = []
    for name, source in (("a", whole), ("b", shards)):
        family.fetch(tmp_path / name, weights=str(source))
        rows.append(encoded(family.load(tmp_path / name, outputs=["last:mean"], device="cpu"), *TEXTS)["last:mean"])
    np.testing.assert_array_equal(*rows)
    pin = sources.sha256_of(shards / "model.safetensors.index.json")
    family.fetch(tmp_path / "c", weights=str(shards), sha256=pin)
    shard = shards / "model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(IceboxError, match=f"expected sha256 {pin}"):
        family.fetch(tmp_path / "d", weights=str(shards), sha256=pin)
    shard.unlink()
    with pytest.raises(IceboxError, match=r"expected 2 shards beside it, found none of model-00002-of-00002"):
        family.fetch(tmp_path / "e", weights=str(shards))


def test_weights_are_loaded_in_the_precision_that_is_asked_for_and_positions_stay_exact(drawn):
    backbone = family.load(drawn("llama"), outputs=["last:mean"], device="cpu", precision="bfloat16")
    network = backbone.layer_outputs.network
    assert {parameter.dtype for parameter in network.parameters()} == {torch.bfloat16}
    assert network.rotary_emb.inv_freq.dtype == torch.float32  # rounded, far positions could not be told apart


def test_layers_may_be_spread_by_a_limit_of_memory(drawn, tmp_path):
    folder = shutil.copytree(drawn("gpt2"), tmp_path / "net")
    settings = json.loads((folder / "backbone.json").read_text())
    (folder / "backbone.json").write_text(json.dumps(settings | {"max_memory": {"cpu": "1GiB"}}))
    rows = [
        encoded(family.load(path, outputs=["last:final"], device="cpu"), *TEXTS)["last:final"]
        for path in (drawn("gpt2"), folder)
    ]
    np.testing.assert_array_equal(*rows)


def sentence_folder(folder: Path, *, dense: bool = False, normalize: bool = True, **pooling) -> Path:
    """A BERT as sentence-transformers saves it."""
    save(folder)
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling")]
    kinds += [("2_Dense", "Dense")] if dense else []
    kinds += [("3_Normalize", "Normalize")] if normalize else []
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps({"word_embedding_dimension": 16, **pooling}))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 8, "do_lower_case": true}')
    prompts = {"prompts": {"query": "the ", "passage": "a dog "}, "default_prompt_name": None}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    if dense:
        (folder / "2_Dense").mkdir()
        config = {"in_features": 16, "out_features": 4, "activation_function": "torch.nn.modules.activation.Tanh"}
        (folder / "2_Dense/config.json").write_text(json.dumps(config))
        layer = {"linear.weight": torch.linspace(-1, 1, 64).view(4, 16), "linear.bias": torch.ones(4)}
        save_file(layer, folder / "2_Dense/model.safetensors")
    return folder


def by_hand(folder: Path, text: str, **poolings: bool) -> np.ndarray:
    """The pooled vectors of a text, side by side in sentence-transformers' order."""
    network = library().AutoModel.from_pretrained(folder, local_files_only=True).eval()
    tokenizer = library().AutoTokenizer.from_pretrained(folder, local_files_only=True)
    ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=8)["input_ids"]
    with torch.no_grad():
        x = network(input_ids=ids).last_hidden_state[0].numpy()
    weights = np.arange(1, len(x) + 1)[:, None]
    vectors = {
        "pooling_mode_cls_token": x[0],
        "pooling_mode_max_tokens": x.max(0),
        "pooling_mode_mean_tokens": x.mean(0),
        "pooling_mode_mean_sqrt_len_tokens": x.sum(0) / np.sqrt(len(x)),
        "pooling_mode_weightedmean_tokens": (x * weights).sum(0) / weights.sum(),
        "pooling_mode_lasttoken": x[-1],
    }
    return np.concatenate([vector for flag, vector in vectors.items() if poolings.get(flag)])


FLAGS = ["cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"]


@pytest.mark.parametrize("flags", [*([flag] for flag in FLAGS), ["cls_token", "mean_tokens"], FLAGS])
def test_poolings_are_those_of_the_folder(flags, tmp_path):
    pooling = {f"pooling_mode_{flag}": True for flag in flags}
    source = sentence_folder(tmp_path / "source", normalize=False, **pooling)
    family.fetch(tmp_path / "net", weights=str(source))
    rows = encoded(family.load(tmp_path / "net", outputs=["embedding"], device="cpu"), *TEXTS)["embedding"]
    for row, text in zip(rows, TEXTS, strict=True):
        np.testing.assert_allclose(row, by_hand(source, text, **pooling), atol=1e-5)


def test_a_folder_decides_pooling_layers_and_length_and_says_so(tmp_path, caplog):
    caplog.set_level("INFO")
    source = sentence_folder(tmp_path / "source", dense=True, pooling_mode_cls_token=True)
    family.fetch(tmp_path / "bge", weights=str(source))
    backbone = family.load(tmp_path / "bge", outputs=[], device="cpu")
    assert backbone.outputs == ("embedding",)
    assert caplog.messages[-1] == "bge: embedding: cls, dense (Tanh), normalized, as its modules.json says"
    assert backbone.max_tokens == 8
    pooled = by_hand(source, TEXTS[0], pooling_mode_cls_token=True)
    expected = np.tanh(np.linspace(-1, 1, 64).reshape(4, 16) @ pooled + 1)
    row = encoded(backbone, TEXTS[0].upper())["embedding"][0]
    np.testing.assert_allclose(row, expected / np.linalg.norm(expected), atol=1e-5)
    backbone.save(tmp_path / "saved")
    again = family.load(tmp_path / "saved", outputs=[], device="cpu")
    np.testing.assert_array_equal(encoded(again, *TEXTS)["embedding"], encoded(backbone, *TEXTS)["embedding"])
    assert family.load(tmp_path / "bge", outputs=["last:mean"], device="cpu").max_tokens == 12


def test_a_prompt_is_a_name_or_a_text_and_part_of_the_fingerprint_only_where_it_is_set(tmp_path):
    source = sentence_folder(tmp_path / "source", pooling_mode_cls_token=True)
    family.fetch(tmp_path / "net", weights=str(source))

    def load(prompt):
        return family.load(tmp_path / "net", outputs=[], device="cpu", prompt=prompt)

    plain = load(None)
    assert "prompt" not in plain.spec
    assert load("").spec == plain.spec
    assert load("query").spec == plain.spec | {"prompt": "the "} == load("the ").spec
    np.testing.assert_array_equal(encoded(load("query"), "cat")["embedding"], encoded(plain, "the cat")["embedding"])
    with pytest.raises(IceboxError, match=r"no prompt named 'qurey'; did you mean 'query'"):
        load("qurey")


def test_tokens_of_the_prompt_may_be_left_out_of_the_pooling(tmp_path):
    source = sentence_folder(tmp_path / "source", normalize=False, pooling_mode_mean_tokens=True, include_prompt=False)
    config = json.loads((source / "tokenizer_config.json").read_text())
    (source / "tokenizer_config.json").write_text(json.dumps(config | {"sep_token": "[SEP]"}))
    family.fetch(tmp_path / "net", weights=str(source))
    backbone = family.load(tmp_path / "net", outputs=["embedding"], device="cpu", prompt="query")
    tokens = family.load(tmp_path / "net", outputs=["last:tokens"], device="cpu")
    states = encoded(tokens, "the cat sat")["last:tokens"][0]  # [CLS] the cat sat [SEP]
    np.testing.assert_allclose(encoded(backbone, "cat sat")["embedding"][0], states[2:].mean(0), atol=1e-5)


def test_modules_that_are_not_known_are_named_and_other_outputs_go(tmp_path):
    source = sentence_folder(tmp_path / "source", pooling_mode_cls_token=True)
    modules = json.loads((source / "modules.json").read_text())
    modules[1]["type"] = "sentence_transformers.models.CNN"
    (source / "modules.json").write_text(json.dumps(modules))
    family.fetch(tmp_path / "net", weights=str(source))
    with pytest.raises(IceboxError, match=r"its modules\.json has Transformer → CNN → Normalize; .* set outputs"):
        family.load(tmp_path / "net", outputs=[], device="cpu")
    assert encoded(family.load(tmp_path / "net", outputs=["last:mean"], device="cpu"), "cat")["last:mean"].any()


def test_a_network_may_lie_in_a_folder_of_its_own(tmp_path):
    flat = sentence_folder(tmp_path / "flat", pooling_mode_cls_token=True)
    nested = tmp_path / "nested"
    shutil.copytree(flat, nested)
    (nested / "0_Transformer").mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (nested / name).rename(nested / "0_Transformer" / name)
    (nested / "sentence_bert_config.json").rename(nested / "0_Transformer/sentence_bert_config.json")
    modules = json.loads((nested / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    (nested / "modules.json").write_text(json.dumps(modules))
    rows = []
    for source in (flat, nested):
        family.fetch(tmp_path / f"{source.name}-net", weights=str(source))
        backbone = family.load(tmp_path / f"{source.name}-net", outputs=[], device="cpu")
        rows.append(encoded(backbone, *TEXTS)["embedding"])
    np.testing.assert_array_equal(*rows)
