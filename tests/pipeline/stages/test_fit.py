"""The stage as dvc runs it, on notes whose labels are numbers, and on patients that belong together."""

import csv
import io
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from icebox.features.errors import IceboxError
from icebox.features.manifest import manifest as manifest_file
from icebox.pipeline.comparison import formats
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


CLASSES = """
datasets: {notes: {source: csv_text, path: notes.csv, text: text, label: label, split: {val: 0.3, test: 0.3}}}
backbones: {hashing: {dimensions: 64}}
stores: {notes-hashing: {dataset: notes, backbone: hashing, input: {decide: {recall: {no: 0.9}}}}}
heads: {logreg: {C: [0.1, 1.0]}}
"""


def test_decisions_are_kept_in_the_bundle_and_scored_beside_the_largest_score(project, capsys):
    rows = [
        f"{'good ' * (i % 3)}{'bad ' * (i % 5)}thing {i},{'no' if i % 5 > 1 + i % 3 else 'yes'}" for i in range(200)
    ]
    Path("notes.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    paths.PARAMS.write_text(CLASSES)
    fit.run(prepare(), "notes-hashing-logreg")
    metrics = json.loads(paths.metrics("notes-hashing", "logreg").read_text())
    details = json.loads(paths.details("notes-hashing", "logreg").read_text())
    assert details["decide"] == {"recall": {"no": 0.9}}
    assert details["offsets"]["no"] > details["offsets"]["yes"]
    assert metrics["test-argmax"]["n"] == metrics["test"]["n"]
    recalls = {
        split: next(each["recall"] for each in details["by_class"][split] if each["class"] == "no")
        for split in ("test", "test-argmax")
    }
    assert recalls["test"] == pytest.approx(metrics["recall"]["no"], abs=1e-6)
    assert recalls["test"] > recalls["test-argmax"]
    (entry,) = formats.records(loader.load())
    assert entry["test-argmax_accuracy"] == metrics["test-argmax"]["accuracy"]
    assert entry["test-argmax_low"] < entry["test-argmax_accuracy"] < entry["test-argmax_high"]
    table = pq.read_table(paths.predictions("notes-hashing", "logreg")).to_pylist()
    decided = {row["item_id"]: row["prediction"] for row in table if row["split"] == "test"}
    texts = {row.item_id: row for row in manifest_file.read(paths.manifest("notes")) if row.split == "test"}
    Path("new.csv").write_text("\n".join(["text,label", *(rows[int(i)] for i in texts)]) + "\n")
    capsys.readouterr()
    predict.to_table(predict.open_head("notes-hashing/logreg"), ["new.csv"])
    answers = [line["label"] for line in csv.DictReader(io.StringIO(capsys.readouterr().out))]
    assert answers == [decided[item_id] for item_id in texts]


@pytest.mark.parametrize("settings", ["{adapt: standardize}", "{adapt: standardize, shares: em, decide: f1_macro}"])
def test_sets_are_aligned_and_scored_beside_what_is_not(project, settings, capsys):
    rows = [
        f"{'good ' * (i % 3)}{'bad ' * (i % 5)}thing {i},{'no' if i % 5 > 1 + i % 3 else 'yes'}" for i in range(200)
    ]
    Path("notes.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    paths.PARAMS.write_text(CLASSES.replace("{decide: {recall: {no: 0.9}}}", settings))
    fit.run(prepare(), "notes-hashing-logreg")
    metrics = json.loads(paths.metrics("notes-hashing", "logreg").read_text())
    details = json.loads(paths.details("notes-hashing", "logreg").read_text())
    assert metrics["test-unadapted"]["n"] == metrics["test"]["n"]
    assert metrics["test-unadapted"] != metrics["test"]
    assert details["adapt"]["method"] == "standardize"
    assert set(details["adapt"]["targets"]["test"]["estimated"]) == {"no", "yes"}
    (entry,) = formats.records(loader.load())
    assert entry["test-unadapted_low"] < entry["test-unadapted_accuracy"] < entry["test-unadapted_high"]
    table = pq.read_table(paths.predictions("notes-hashing", "logreg")).to_pylist()
    aligned = {row["item_id"]: row["p_no"] for row in table if row["split"] == "test"}
    texts = [row.item_id for row in manifest_file.read(paths.manifest("notes")) if row.split == "test"]
    Path("new.csv").write_text("\n".join(["text,label", *(rows[int(i)] for i in texts)]) + "\n")
    capsys.readouterr()
    predict.to_table(predict.open_head("notes-hashing/logreg"), ["new.csv"])
    answers = [float(line["p_no"]) for line in csv.DictReader(io.StringIO(capsys.readouterr().out))]
    assert answers == pytest.approx([aligned[item_id] for item_id in texts], abs=2e-6)


def test_new_items_are_compared_with_train(project, caplog, capsys):
    rows = [
        f"{'good ' * (i % 3)}{'bad ' * (i % 5)}thing {i},{'no' if i % 5 > 1 + i % 3 else 'yes'}" for i in range(200)
    ]
    Path("notes.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    paths.PARAMS.write_text(CLASSES)
    caplog.set_level("INFO")
    fit.run(prepare(), "notes-hashing-logreg")
    head = predict.open_head("notes-hashing/logreg")
    texts = {
        "alike": [row.rpartition(",")[0] for row in rows[::4]],
        "other": [f"a tale of {name} and the sea {i}" for i in range(20) for name in ("whales", "ships")],
        "few": ["a tale of the sea"] * 5,
    }
    told = {}
    for name, lines in texts.items():
        Path("new.txt").write_text("\n".join(lines) + "\n")
        caplog.clear()
        predict.to_table(head, ["new.txt"])
        told[name] = [(record.levelname, record.message) for record in caplog.records if "train" in record.message]
    ((level, sentence),) = told["other"]
    assert level == "WARNING"
    assert "The new data lies elsewhere than train: of an item of each, a linear classifier tells" in sentence
    ((level, sentence),) = told["alike"]
    assert level == "INFO"
    assert "The new data can't be told from train by features (AUC 0." in sentence
    assert told["few"] == []
    shutil.rmtree(paths.store("notes-hashing"))
    caplog.clear()
    predict.to_table(head, ["new.txt"])
    assert not [record for record in caplog.records if "elsewhere" in record.message]


@pytest.mark.parametrize("decide", ["argmax", "f1_macro"])
def test_margins_that_are_calibrated_are_probabilities_of_val_too(project, decide):
    rows = [
        f"{'good ' * (i % 3)}{'bad ' * (i % 5)}thing {i},{'no' if i % 5 > 1 + i % 3 else 'yes'}" for i in range(200)
    ]
    Path("notes.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    settings = f"{{calibrate: temperature, decide: {decide}}}"
    text = CLASSES.replace("{decide: {recall: {no: 0.9}}}", settings).replace(
        "logreg: {C: [0.1, 1.0]}", "linear_svm: {}"
    )
    paths.PARAMS.write_text(text)
    fit.run(prepare(), "notes-hashing-linear_svm")
    table = pq.read_table(paths.predictions("notes-hashing", "linear_svm"))
    assert table.column_names[-2:] == ["p_no", "p_yes"]
    rows_of_val = [row for row in table.to_pylist() if row["split"] == "val"]
    assert all(0 < row["p_no"] < 1 for row in rows_of_val)
    metrics = json.loads(paths.metrics("notes-hashing", "linear_svm").read_text())
    right = sum(row["label"] == row["prediction"] for row in rows_of_val)
    assert metrics["val"]["accuracy"] == pytest.approx(right / len(rows_of_val), abs=1e-6)
    assert "log_loss" not in metrics["val"]  # val chose by margins
    assert "log_loss" in metrics["test"]


def test_with_leakage_near_copies_on_another_side_are_left_out_of_train(project):
    words = ["amber", "birch", "cedar", "delta", "ember", "frost", "grove", "heath", "inlet", "jetty", "knoll", "larch"]
    texts = [" ".join(words[(i * j + j * j) % 12] + str(i % (j + 2)) for j in range(1, 9)) for i in range(120)]
    splits = [("train", "train", "val", "test")[i % 4] for i in range(120)]
    lines = [f"{text},{i % 3},{split}" for i, (text, split) in enumerate(zip(texts, splits, strict=True))]
    lines += [f"{texts[3]}!,0,train", f"{texts[7]}.,1,val", f"{texts[4]}?,1,train"]
    Path("notes.csv").write_text("\n".join(["text,label,side", *lines]) + "\n")
    split = "split: {column: side, leakage: LEAKAGE}}"
    params = PARAMS.replace("split: {val: 0.3, test: 0.3}}", split)
    left_out, train_n = {}, {}
    for leakage in ("drop", "near"):
        paths.PARAMS.write_text(params.replace("LEAKAGE", leakage))
        fit.run(prepare(), "notes-hashing-ridge")
        left_out[leakage] = json.loads(paths.details("notes-hashing", "ridge").read_text()).get("near_left_out")
        train_n[leakage] = json.loads(paths.metrics("notes-hashing", "ridge").read_text())["train_n"]
    assert left_out == {"drop": None, "near": {"train": 1, "val": 1}}
    assert train_n == {"drop": 62, "near": 61}
