"""The stage as dvc runs it, on notes whose labels are numbers, and on patients that belong together."""

import csv
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from icebox.features.errors import IceboxError
from icebox.pipeline.config import loader
from icebox.pipeline.inference import predict
from icebox.pipeline.project import paths
from icebox.pipeline.stages import extract, fetch, fit, manifest

PARAMS = """
datasets:
  notes: {source: csv_text, path: notes.csv, text: text, label: label, task: regression, split: {val: 0.3, test: 0.3}}
backbones: {hashing: {dimensions: 64}}
stores: {notes-hashing: {dataset: notes, backbone: hashing}}
heads: {ridge: {alpha: [0.1, 1000.0]}}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    lines = [f"{'good ' * (i % 4)}thing number {i},{i % 4 + i % 3 / 10}" for i in range(120)]
    Path("notes.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    paths.PARAMS.write_text(PARAMS)
    return tmp_path


def prepare() -> loader.Config:
    loaded = loader.load()
    manifest.run(loaded, "notes")
    fetch.run(loaded, "hashing")
    extract.run(loaded, "notes-hashing")
    return loaded


def test_a_regression_is_fitted_scored_and_predicts_numbers(project, capsys):
    fit.run(prepare(), "notes-hashing-ridge")
    metrics = json.loads(paths.metrics("notes-hashing", "ridge").read_text())
    assert set(metrics["test"]) == {"n", "rmse", "mae", "r2"}
    assert metrics["test"]["r2"] > 0.5
    details = json.loads(paths.details("notes-hashing", "ridge").read_text())
    assert (details["task"], details["choose"], details["chosen"]) == ("regression", "rmse", {"alpha": 0.1})
    table = pq.read_table(paths.predictions("notes-hashing", "ridge"))
    assert table.column_names == ["item_id", "split", "label", "prediction"]
    assert all(isinstance(value, float) for value in table["prediction"].to_pylist())
    assert paths.plot("notes-hashing", "ridge", "confusion").read_text() == "actual,predicted\n"
    Path("new.txt").write_text("thing\ngood good good thing\n")
    capsys.readouterr()
    predict.to_table(predict.open_head("notes-hashing/ridge"), ["new.txt"])
    none, three = (float(line["label"]) for line in csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert three > none + 1


def test_a_head_for_classes_only_is_refused_before_anything_runs(project):
    paths.PARAMS.write_text(PARAMS.replace("{ridge: {alpha: [0.1, 1000.0]}}", "[logreg]"))
    with pytest.raises(IceboxError, match=r"heads\.logreg: is for classes only"):
        loader.load()


def test_without_val_folds_choose_and_metrics_keep_their_scores_as_vals(project):
    paths.PARAMS.write_text(PARAMS.replace("val: 0.3", "val: 0.0"))
    fit.run(prepare(), "notes-hashing-ridge")
    metrics = json.loads(paths.metrics("notes-hashing", "ridge").read_text())
    details = json.loads(paths.details("notes-hashing", "ridge").read_text())
    assert details["chosen_on"] == "5-fold in train"
    assert len(details["folds"]) == 5
    assert metrics["val"]["n"] == metrics["train_n"] == sum(fold["n"] for fold in details["folds"])
    assert set(pq.read_table(paths.predictions("notes-hashing", "ridge"))["split"].to_pylist()) == {"test"}


def test_features_by_which_items_cannot_be_told_apart_are_told(project, caplog):
    Path("notes.csv").write_text("text,label\n" + "".join(f"{'#' * i},{i % 4}\n" for i in range(1, 121)))
    fit.run(prepare(), "notes-hashing-ridge")
    assert "notes-hashing: all train items have the same features" in caplog.text
