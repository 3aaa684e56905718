"""Labelled items that were no part of a head's dataset: their scores, and what stands in the way of trusting them."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics as sklearn_metrics

from icebox.features.manifest import manifest
from icebox.pipeline.cli.app import main
from icebox.pipeline.project import paths
from tests import tiny
from tests.pipeline.inference.heads import fit

NOTES = [("good thing", "1"), ("so good", "1"), ("bad thing", "2"), ("so bad", "2"), ("ugly", "3"), ("so ugly", "3")]
ANSWERS = {"good": "1", "bad": "2", "ugly": "3"}  # of a text of one of these words


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("heads")
    pictures = [(np.full((6, 6), grey, np.uint8), "bright" if grey > 99 else "dark") for grey in (10, 40, 200, 240)]
    sizes = [(f"{'good ' * n}thing", float(n)) for n in range(5)]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        text = {"path": "notes.csv", "group": "writer", "drop_labels": ["?"], "split": "fold"}
        fit("notes", NOTES, backbone="hashing", dataset="notes", source="csv_text", parameters=text)
        fit("sizes", sizes, backbone="hashing", dataset="sizes", source="csv_text", parameters={"path": "s.csv"})
        fit("photos", pictures, backbone="pixels", source="image_folder", parameters={"path": "raw"})
    return folder


@pytest.fixture
def run(project, monkeypatch, capsys):
    """Run `evaluate --json` → (exit code, the JSON or None, stderr)."""
    monkeypatch.chdir(project)

    def evaluate(head, *arguments):
        code = main(["evaluate", f"{head}/head", *map(str, arguments), "--json"])
        printed = capsys.readouterr()
        return code, json.loads(printed.out) if printed.out else None, printed.err

    return evaluate


def table(path: Path, rows, header=("text", "label")) -> Path:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])
    return path


def picture(path: Path, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (6, 6), grey).save(path)


ROWS = [("good", 1)] * 5 + [("bad", 1)] * 2 + [("bad", 2)] * 3 + [("ugly", 2)] + [("ugly", 3)] * 4


def test_scores_are_those_of_scikit_learn_with_intervals_around_them(run, tmp_path):
    code, found, _ = run("notes", table(tmp_path / "new.csv", ROWS))
    labels, predicted = [str(label) for _, label in ROWS], [ANSWERS[text] for text, _ in ROWS]
    assert code == 0
    assert found["n"] == 15
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(labels, predicted),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(labels, predicted),
        "f1_macro": sklearn_metrics.f1_score(labels, predicted, average="macro"),
    }
    for name, value in expected.items():
        score = found["scores"][name]
        assert score["value"] == pytest.approx(value, abs=1e-6)
        assert 0 < score["low"] < value < score["high"] <= 1
    counts = {(row["label"], row["prediction"]): row["count"] for row in found["confusion"]}
    assert counts == {("1", "1"): 5, ("1", "2"): 2, ("2", "2"): 3, ("2", "3"): 1, ("3", "3"): 4}
    first = found["classes"][0]
    assert (first["class"], first["n"], first["precision"]) == ("1", 7, 1.0)
    assert first["recall"] == pytest.approx(5 / 7)
    assert first["recall_low"] < first["recall"] < first["recall_high"]


def test_labels_are_the_heads_classes_however_a_file_spells_them(run, tmp_path):
    assert (
        run("notes", table(tmp_path / "new.csv", [("good", "1.0"), ("bad", " 2")]))[1]["scores"]["accuracy"]["value"]
        == 1
    )


def test_rows_that_training_would_drop_are_dropped_and_told(run, tmp_path):
    _, found, error = run("notes", table(tmp_path / "new.csv", [("good", 1), ("x", "?")]))
    assert found["n"] == 1
    assert "rows left out whose label is '?': 1" in error


def test_unknown_labels_are_an_error_or_counted_as_told(run, tmp_path):
    path = table(tmp_path / "new.csv", [("good", 1), ("bad", 2), ("good", 4), ("bad", 4)])
    code, _, error = run("notes", path)
    assert code == 1
    assert "new.csv, item '2': its label '4' is no class of the head" in error
    assert len(error.splitlines()) == 1
    _, wrong, _ = run("notes", path, "--unknown-labels", "wrong")
    assert (wrong["n"], wrong["scores"]["accuracy"]["value"], wrong["unknown_labels"]) == (4, 0.5, {"4": 2})
    assert "log_loss" not in wrong["scores"]
    _, skipped, _ = run("notes", path, "--unknown-labels", "skip")
    assert (skipped["n"], skipped["scores"]["accuracy"]["value"], skipped["unknown_labels"]) == (2, 1.0, {"4": 2})
    assert run("notes", table(path, [("good", 4)]), "--unknown-labels", "skip")[0] == 1


def test_groups_are_the_units_of_the_intervals(run, tmp_path):
    rows = [(text, label, "one") for text, label in ROWS] + [("good", 1, "two"), ("good", 2, "three")]
    _, found, _ = run("notes", table(tmp_path / "new.csv", rows, ("text", "label", "writer")))
    assert found["groups"] == 3
    assert run("notes", table(tmp_path / "new.csv", ROWS))[1]["groups"] is None


def test_items_that_the_dataset_has_are_counted_by_their_split(run, tmp_path, project):
    path = table(tmp_path / "new.csv", [("good", 1), ("bad", 1), ("ugly", 3), ("ugly ugly", 3)])
    assert run("notes", path)[1]["known"] is None
    train, test = tiny.rows("bad", "good"), tiny.rows("ugly", split="test")
    manifest.write(paths.manifest("notes"), [*train, *test])
    try:
        _, found, _ = run("notes", path)
    finally:
        paths.manifest("notes").unlink()
    assert found["known"]["by_split"] == {"train": 2, "test": 1}
    assert found["known"]["ids"] == ["0", "1", "2"]
    assert found["scores"]["accuracy"]["value"] == 0.75
    assert found["known"]["others"] == 1


def test_nothing_is_written_but_the_predictions_that_are_asked_for(run, tmp_path, project):
    before = {path: path.stat().st_mtime_ns for path in project.rglob("*")}
    path, out = table(tmp_path / "new.csv", [("good", 1), ("bad", 1)]), tmp_path / "out.jsonl"
    assert run("notes", path)[0] == 0
    assert run("notes", path, "--out", out)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in project.rglob("*")} == before
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["id"], row["label"], row["actual"]) for row in rows] == [("0", "1", "1"), ("1", "2", "1")]
    assert run("notes", path, "--out", path)[0] == 1


def test_a_regression_has_its_own_scores(run, tmp_path):
    rows = [("thing", 0), ("good thing", 1.5), ("good good thing", 2), ("good good good thing", 3)]
    _, found, _ = run("sizes", table(tmp_path / "new.csv", rows))
    assert list(found["scores"]) == ["rmse", "mae", "r2"]
    assert found["scores"]["rmse"]["low"] <= found["scores"]["rmse"]["value"] <= found["scores"]["rmse"]["high"]
    assert (found["classes"], found["confusion"]) == ([], [])
    assert (
        "expected a finite number as its label (task: regression), found 'many'"
        in run("sizes", table(tmp_path / "n.csv", [("a", "many")]))[2]
    )


def test_a_folder_of_class_folders_is_scored_even_if_it_has_one_class_only(run, tmp_path):
    for number, grey in enumerate((250, 240, 3)):
        picture(tmp_path / f"new/bright/{number}.png", grey)
    _, found, _ = run("photos", tmp_path / "new")
    assert found["scores"]["accuracy"]["value"] == pytest.approx(2 / 3)
    (tmp_path / "new/bright/3.png").write_bytes(b"no picture")
    assert "bright/3.png" in run("photos", tmp_path / "new")[2]
    _, found, _ = run("photos", tmp_path / "new", "--on-error", "skip")
    assert (found["n"], found["unreadable"]) == (3, 1)


def test_of_a_folder_with_splits_one_is_named(run, tmp_path):
    for split, grey in (("train", 3), ("test", 250)):
        picture(tmp_path / f"new/{split}/bright/1.png", grey)
        picture(tmp_path / f"new/{split}/dark/1.png", 3)
    code, _, error = run("photos", tmp_path / "new")
    assert code == 1
    assert "name one: --split test" in error
    assert run("photos", tmp_path / "new", "--split", "test")[1]["scores"]["accuracy"]["value"] == 1
    assert "no such items; splits: train, test" in run("photos", tmp_path / "new", "--split", "val")[2]


@pytest.mark.parametrize("name", ["lines.txt", "nowhere", "picture.png", "empty"])
def test_what_has_no_labels_is_one_line(run, tmp_path, name):
    (tmp_path / "lines.txt").write_text("good\n")
    (tmp_path / "empty").mkdir()
    picture(tmp_path / "picture.png", 3)
    for head in ("notes", "photos"):
        code, _, error = run(head, tmp_path / name)
        assert code == 1
        assert len(error.splitlines()) == 1


def test_the_text_names_what_decides_and_what_to_doubt(run, tmp_path, project, capsys):
    details, scores = paths.details("notes", "head"), paths.metrics("notes", "head")
    for path, content in ((details, {"choose": "f1_macro"}), (scores, {"test": {"n": 9, "f1_macro": 0.98}})):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    try:
        path = table(tmp_path / "new.csv", [*ROWS, ("good", 4)])
        assert main(["evaluate", "notes/head", str(path), "--unknown-labels", "wrong"]) == 0
    finally:
        details.unlink(), scores.unlink()
    text = capsys.readouterr().out
    lines = [line.split() for line in text.splitlines()]
    first = next(line for line in lines if line[:1] == ["f1_macro"])
    assert lines[0] == ["notes/head:", "16", "items"]
    assert first[-1] == "0.9800"
    assert lines.index(first) < next(i for i, line in enumerate(lines) if line[:1] == ["accuracy"])
    assert ["label", "\\", "prediction", "1", "2", "3", "4"] in lines
    assert "labels that the head does not know, counted as wrong: '4' 1" in text
    assert "its manifest is not here" in text


@pytest.mark.real_data
@pytest.mark.skipif("ICEBOX_REAL_DATA" not in os.environ, reason="ICEBOX_REAL_DATA names no folder")
def test_real_x_rays_are_scored(run):
    folder = Path(os.environ["ICEBOX_REAL_DATA"], "chest_xray_test")
    _, found, _ = run("photos", folder, "--unknown-labels", "wrong")
    assert found["n"] == sum(found["unknown_labels"].values()) == len(list(folder.glob("*/*.jpeg")))
