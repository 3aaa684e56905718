"""The stages by params alone: a causal language model of random weights, its head, and LoRA from there."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from icebox.pipeline.catalog import datasets
from icebox.pipeline.config import loader
from icebox.pipeline.inference import fitted_head
from icebox.pipeline.project import paths
from icebox.pipeline.stages import extract, fetch, fit, manifest, unfreeze
from tests.features.backbones.test_text_networks import tokenizer_folder

PARAMS = """
datasets:
  notes: {source: csv_text, path: notes.csv, text: text, label: label, split: {val: 0.3, test: 0.3}}
backbones:
  llama:
    family: transformers
    weights: random
    tokenizer: tokens
    max_tokens: 12
    network:
      {model_type: llama, hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1,
       intermediate_size: 32, max_position_embeddings: 16, pad_token_id: 0}
stores:
  notes-llama: {dataset: notes, backbone: llama, precision: float32, stored: float32}
  notes-tuned: {dataset: notes, backbone: tuned, precision: float32, stored: float32}
heads: {logreg: {C: 1.0}, fresh: {}}
unfreeze:
  tuned: {store: notes-llama, start: fresh, free: {lora: 2}, epochs: 6, batch_size: 6, learning_rate: 0.005}
run: {device: cpu}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> loader.Config:
    monkeypatch.chdir(tmp_path)
    tokenizer_folder(tmp_path / "tokens")
    words = ["cat", "dog", "mat", "on", "the", "far", "away", "here"]
    lines = [
        f"{words[i % 8]} {words[i // 8 % 8]} {'cat' if i % 2 else 'dog'} {words[i % 5]},{i % 2}" for i in range(90)
    ]
    Path("notes.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    paths.PARAMS.write_text(PARAMS)
    return loader.load()


def test_a_causal_network_of_random_weights_is_stored_fitted_and_adapted(project, caplog):
    manifest.run(project, "notes")
    fetch.run(project, "llama")
    extract.run(project, "notes-llama")
    assert "llama: last:final, since this is a causal network" in caplog.text
    fit.run(project, "notes-llama-fresh")
    unfreeze.run(project, "tuned")
    assert "lora: rank 2 in 4 linear layers (q_proj, v_proj)" in caplog.text
    unfrozen = json.loads(paths.details("notes-llama", "tuned").read_text())["unfrozen"]
    assert unfrozen["parameters_trained"] == 2 * (2 * (16 + 16) + 2 * (16 + 8))
    assert unfrozen["by_seed"][0]["best_epoch"] > 0
    # the merged network of the bundle predicts what the network with its adapters was scored by
    read = datasets.source(project, "notes").read
    rows = {row.item_id: read(row.source) for row in manifest_rows()}
    recorded = pq.read_table(paths.predictions("notes-llama", "tuned")).to_pylist()
    answers = fitted_head.load("notes-llama/tuned").predict_proba([rows[row["item_id"]] for row in recorded])
    np.testing.assert_allclose(answers[:, 1], [row["p_1"] for row in recorded], atol=1e-5)
    extract.run(project, "notes-tuned")
    fit.run(project, "notes-tuned-logreg")


def manifest_rows():
    from icebox.features.manifest.manifest import read

    return read(paths.manifest("notes"))
