"""The stages by params alone: a causal language model of random weights, its head, and LoRA from there."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from icebox.pipeline.catalog import datasets
from icebox.pipeline.config import loader
from icebox.pipeline.evaluation import prediction_file
from icebox.pipeline.fitting import decisions
from icebox.pipeline.inference import fitted_head
from icebox.pipeline.project import paths
from icebox.pipeline.report import render
from icebox.pipeline.stages import extract, fetch, fit, manifest, unfreeze
from icebox.pipeline.training import curves
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


SETS = PARAMS.replace("label: label, ", "task: multilabel, label: [cat, here], ").replace(
    "{C: 1.0}, fresh: {}", "{C: 1.0}, mlp: {hidden: 8, epochs: 4}, fresh: {}"
)
SETS += "fit: {decide: {recall: {here: 0.9}}}\n"
SETS = SETS.replace(
    "run: {", "  scratch: {store: notes-llama, start: fresh, init: random, epochs: 6, learning_rate: 0.005}\nrun: {"
)
SETS = SETS.replace("start: fresh, free: {lora: 2}, epochs: 6", "start: mlp, free: all, epochs: 12, r_drop: 0.5")


@pytest.fixture
def project_of_sets(project):
    words = ["cat", "dog", "mat", "on", "the", "far", "away", "here"]
    texts = [[words[i % 8], words[i // 8 % 8], words[i % 5]] for i in range(90)]
    lines = [f"{' '.join(text)},{int('cat' in text)},{int('here' in text)}" for text in texts]
    Path("notes.csv").write_text("\n".join(["text,cat,here", *lines]) + "\n")
    paths.PARAMS.write_text(SETS)
    return loader.load()


def test_a_network_is_trained_on_from_a_head_of_sets_of_labels_and_val_chooses_thresholds(project_of_sets):
    config = project_of_sets
    manifest.run(config, "notes")
    fetch.run(config, "llama")
    extract.run(config, "notes-llama")
    for head in config.heads:
        fit.run(config, f"notes-llama-{head}")
    unfreeze.run(config, "tuned")
    unfreeze.run(config, "scratch")
    assert json.loads(paths.metrics("notes-llama", "scratch").read_text())["val"]["mean_ap"] > 0.5
    frozen, scores = (json.loads(paths.metrics("notes-llama", head).read_text()) for head in ("mlp", "tuned"))
    before, *after = [line["val/mean_ap"] for line in curves.read(paths.curve("tuned"))]
    assert before == pytest.approx(frozen["val"]["mean_ap"], abs=1e-3)  # begins where the head stands
    assert scores["val"]["mean_ap"] == pytest.approx(max(before, *after), abs=1e-3)
    assert scores["val"]["mean_ap"] > before
    assert set(scores["recall"]) == {"cat", "here"}

    details = json.loads(paths.details("notes-llama", "tuned").read_text())
    assert (details["task"], details["choose"], list(details["thresholds"])) == (
        "multilabel",
        "mean_ap",
        ["cat", "here"],
    )
    assert details["decide"] == {"recall": {"here": 0.9}}
    stored = prediction_file.read(paths.predictions("notes-llama", "tuned"))
    val, test, thresholds = stored.splits["val"], stored.splits["test"], np.array([*details["thresholds"].values()])
    np.testing.assert_array_equal(
        thresholds, decisions.best_thresholds(val.scores, val.labels, details["decide"], ["cat", "here"], plain=0.5)
    )
    np.testing.assert_array_equal(test.predicted, test.scores > thresholds)
    np.testing.assert_array_equal(val.predicted, val.scores > 0.5)

    read = datasets.source(config, "notes").read
    rows = {row.item_id: read(row.source) for row in manifest_rows()}
    opened = fitted_head.load("notes-llama/tuned")
    texts = [rows[item_id] for item_id in test.item_ids]
    np.testing.assert_allclose(opened.predict_proba(texts), test.scores, atol=1e-5)
    clear = (np.abs(test.scores - thresholds) > 1e-4).all(axis=1)
    np.testing.assert_array_equal(opened.predict(texts)[clear], test.predicted[clear])
    extract.run(config, "notes-tuned")
    for head in config.heads:
        fit.run(config, f"notes-tuned-{head}")
    assert "tuned" in render.render(config)


def manifest_rows():
    from icebox.features.manifest.manifest import read

    return read(paths.manifest("notes"))
