"""The whole pipeline, run by dvc in a clone with tiny data."""

import csv
import io
import json
import shutil

import pytest

from icebox.pipeline.project import paths
from icebox.pipeline.training import curves as curve
from tests.conftest import Project

pytestmark = pytest.mark.slow
STORES = ("photos-glyphnet", "photos-pixels", "notes-hashing")


@pytest.fixture
def project(finished, tmp_path) -> Project:
    return finished.copy(tmp_path / "icebox")


def fits(head: str) -> set[str]:
    return {f"fit@{store}-{head}" for store in STORES} | {f"fit-input@photos-pixels/few-{head}"}


def stores(project: Project) -> dict[str, bytes]:
    return {str(p.relative_to(project.folder)): p.read_bytes() for p in (project.folder / "data/stores").glob("*/*")}


def answers(printed: str) -> list[dict[str, str]]:
    """The rows of predictions for files, without the lines of the log."""
    return [row for row in csv.DictReader(io.StringIO(printed)) if row["id"].startswith("/")]


def test_it_leaves_scores_bundles_and_a_report(finished):
    metrics = json.loads((finished.folder / "results/metrics/photos-pixels/logreg.json").read_text())
    assert metrics["test"]["accuracy"] == 1
    details = json.loads((finished.folder / "results/details/photos-pixels/logreg.json").read_text())
    assert details["chosen"]["C"] in (0.1, 1.0)
    assert [line["C"] for line in details["search"]] == [0.1, 1.0]
    few = json.loads((finished.folder / "results/details/notes-hashing/knn.json").read_text())
    assert [(line["labels_per_class"], len(line["draws"])) for line in few["labels"]] == [
        (1, 0),
        (5, 5),
    ]  # no 3 neighbours among 2
    assert few["class_weights"] == "not taken"
    seen_apart = json.loads((finished.folder / "results/metrics/photos-pixels/few/logreg.json").read_text())
    assert seen_apart["train_n"] == 10
    assert {folder.name for folder in (finished.folder / "data/stores").iterdir()} == set(
        STORES
    )  # no copy for an input
    report = (finished.folder / "reports/index.html").read_text()
    assert "photos-glyphnet" in report
    assert "pixels/few" in report
    assert 'data-chart="map"' in report
    assert "Trained here" in report
    assert "logreg" in finished.run("python", "-m", "pipeline", "compare")


def test_a_second_run_runs_nothing_but_the_check(finished):
    assert finished.ran("dvc", "repro") == {"check"}


def test_no_cached_output_is_left_for_git(finished):
    tracked = set(finished.run("git", "ls-files").split())
    assert {
        "dvc.lock",
        "results/metrics/photos-pixels/logreg.json",
        "results/details/photos-pixels/logreg.json",
        "results/heads/photos-pixels/logreg.json",
    } <= tracked
    assert not [
        name
        for name in tracked
        if name.startswith("data/")
        or (name.endswith((".joblib", ".parquet", ".csv", ".tsv", ".gitignore")) and name.startswith("results"))
    ]


def test_a_heads_parameter_reruns_that_head_on_each_store_and_the_report(project):
    project.replace("params.yaml", "n_neighbors: 3", "n_neighbors: 5")
    assert project.ran("dvc", "repro") == {"check", *fits("knn"), "ensemble@photos-pixels", "report"}


def test_a_touched_head_file_reruns_that_heads_stages_only(project):
    project.replace("pipeline/heads/knn.py", '"""k nearest', '"""The k nearest')
    project.run("dvc", "repro", "check")
    stale = project.run("dvc", "status")
    assert all(f"{fit}:" in stale for fit in fits("knn"))
    assert not [fit for fit in fits("logreg") if f"{fit}:" in stale]
    assert project.ran("dvc", "repro", "fit@photos-pixels-knn") == {"check", "fit@photos-pixels-knn"}


def test_a_touched_file_that_every_fit_imports_reruns_them_all(project):
    project.replace("pipeline/estimators/preprocessing.py", '"""A head with', '"""Any head with')
    assert "check:" in project.run("dvc", "status")
    project.replace("pipeline/fitting/final_fit.py", '"""A head on', '"""Any head on')
    project.run("dvc", "repro", "check")
    stale = project.run("dvc", "status")
    assert all(f"{fit}:" in stale for head in ("logreg", "knn") for fit in fits(head))


def test_a_touched_backbone_file_reruns_its_stages_but_no_head_where_features_stay(project):
    project.replace("features/backbones/pixels.py", "import numpy as np", "import numpy as np  # a comment")
    assert project.ran("dvc", "repro") == {"check", "fetch@pixels", "extract@photos-pixels"}


def test_new_items_extract_only_themselves(project):
    photos = project.folder / "raw/photos/bright"
    shutil.copy(next(photos.glob("*.png")), photos / "again.png")
    (photos / "new.png").write_bytes(next((project.folder / "raw/photos/dark").glob("*.png")).read_bytes())
    project.replace("raw/notes.csv", "good thing number 0,plus", "good thing number 1000,plus")
    output = project.run("dvc", "repro", "extract@notes-hashing", "extract@photos-pixels")  # which notices by itself
    assert "notes-hashing: 60 items, 1 distinct ones passed" in output
    assert "photos-pixels: 62 items, 0 distinct ones passed" in output


def test_stores_are_the_same_bytes_when_made_anew(project):
    before = stores(project)
    shutil.rmtree(project.folder / ".icebox")
    project.run("dvc", "repro", "-s", "-f", *(f"extract@{store}" for store in STORES))
    assert stores(project) == before


def test_an_experiment_swaps_parameters_and_heads(project):
    ran = project.ran("dvc", "exp", "run", "-S", "heads.logreg.C=0.03", "unfreeze@photos-tuned")
    assert ran == {"check", "fit@photos-glyphnet-logreg", "unfreeze@photos-tuned"}
    # of these two only one has probabilities, which an ensemble is made of
    swapped = ["-S", "~heads.knn", "-S", "+heads.linear_svm={}", "-S", "~ensembles.photos-pixels"]
    targets = ["fit@photos-pixels-linear_svm", "fit@photos-glyphnet-logreg"]
    assert project.ran("dvc", "exp", "run", *swapped, *targets) == {"check", "fit@photos-pixels-linear_svm"}
    assert "0.03" in project.run("dvc", "exp", "show", "--csv")


def test_metrics_and_plots_show_as_dvc_users_expect(finished):
    shown = json.loads(finished.run("dvc", "metrics", "show", "--json"))
    assert "photos-pixels" in json.dumps(shown)
    finished.run("dvc", "plots", "show", "-o", str(finished.folder.parent / "plots"))
    page = (finished.folder.parent / "plots/index.html").read_text()
    assert "confusion" in page
    assert "roc" in page
    assert "results/curves/photos-tuned/plots/metrics/val/accuracy.tsv" in page
    assert "results/curves/glyphnet/plots/metrics/train/loss.tsv" in page
    table = finished.run("dvc", "exp", "show", "--csv")
    assert "results/curves/photos-tuned/metrics.json:train.loss" in table


def test_a_second_clone_refits_a_head_without_raw_data_or_extraction(finished, tmp_path):
    first = finished.copy(tmp_path / "first")
    first.run("dvc", "remote", "add", "-d", "shelf", str(tmp_path / "shelf"))
    first.run("git", "commit", "-qam", "remote")
    first.run("dvc", "push", "-q")
    first.run("git", "clone", "-q", str(first.folder), str(tmp_path / "second"))
    second = Project(tmp_path / "second")
    shutil.rmtree(second.folder / "raw")
    second.replace("params.yaml", "n_neighbors: 3", "n_neighbors: 7")
    second.replace("params.yaml", "ensembles: {photos-pixels: {}}\n", "")  # it needs every head's predictions
    ran = second.ran("dvc", "repro", "--pull", "--allow-missing")
    assert ran == {"check", *fits("knn"), "report"}
    report = (second.folder / "reports/index.html").read_text()
    assert "logreg" in report
    assert "knn" in report


def test_training_again_leaves_the_same_curve_and_no_other_file(project):
    def curves() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in (project.folder / "results/curves").rglob("*") if p.is_file()}

    before = curves()
    ran = project.ran("dvc", "exp", "run", "-f", "-s", "pretrain@glyphnet", "unfreeze@photos-tuned")
    assert ran == {"pretrain@glyphnet", "unfreeze@photos-tuned"}
    assert curves() == before
    changed = project.run("git", "status", "--porcelain", "--untracked-files=all").split()[1::2]
    assert not [name for name in changed if "curves" in name or name.endswith("dvc.yaml")]


def test_a_plain_folder_without_git_works(finished, tmp_path):
    plain = tmp_path / "plain"
    shutil.copytree(finished.folder, plain, symlinks=True, ignore=shutil.ignore_patterns(".git"))
    project = Project(plain)
    project.run("dvc", "config", "--local", "core.no_scm", "true")
    project.replace("params.yaml", "n_neighbors: 3", "n_neighbors: 7")
    assert project.ran("dvc", "repro", "fit@photos-pixels-knn") == {"check", "fit@photos-pixels-knn"}


def test_wrong_params_are_one_line_before_anything_runs(project):
    project.replace("params.yaml", "logreg: {C", "logreg: {c")
    output = project.run("dvc", "repro", fails=True)
    assert "error: heads.logreg.c: no such parameter; did you mean 'C'?" in output
    assert output.count("Running stage") == 1
    assert "Traceback" not in output


def test_predict_labels_new_pictures_and_texts(finished, tmp_path):
    bright = finished.folder / "raw/photos/bright"
    printed = finished.run("python", "-m", "pipeline", "predict", "photos-pixels/logreg", str(bright))
    lines = answers(printed)
    assert len(lines) == 30
    assert "The new data lies elsewhere than train" in printed  # they are of one class
    assert {line["label"] for line in lines} == {"bright"}
    assert all(float(line["p_bright"]) + float(line["p_dark"]) == pytest.approx(1, abs=1e-5) for line in lines)
    (tmp_path / "notes.txt").write_text("a good one\n\nbad, bad\n")
    out = tmp_path / "out.csv"
    finished.run(
        "python", "-m", "pipeline", "predict", "notes-hashing/knn", str(tmp_path / "notes.txt"), "--out", str(out)
    )
    assert [line["input"] for line in csv.DictReader(io.StringIO(out.read_text()))] == ["a good one", "", "bad, bad"]


def test_predict_refuses_a_head_whose_backbone_changed(project):
    project.replace("data/backbones/pixels/backbone.json", "4", "5")
    output = project.run("python", "-m", "pipeline", "predict", "photos-pixels/knn", "raw/photos", fails=True)
    assert "is not the one this head was fitted on" in output
    assert "Traceback" not in output


def test_an_unreadable_picture_is_named_and_may_be_skipped(project):
    (project.folder / "raw/photos/dark/broken.png").write_bytes(b"no picture")
    output = project.run("dvc", "repro", "extract@photos-pixels", fails=True)
    assert "'dark/broken.png'" in output
    assert "on_error: skip" in output
    project.replace("params.yaml", "path: raw/photos}", "path: raw/photos, on_error: skip}")
    assert "skipped 'dark/broken.png'" in project.run("dvc", "repro", "extract@photos-pixels")


def test_unfreezing_begins_where_the_head_stands_and_leaves_what_every_head_leaves(finished):
    lines = curve.read(finished.folder / paths.curve("photos-tuned"))
    head = json.loads((finished.folder / "results/metrics/photos-glyphnet/logreg.json").read_text())
    assert [line["step"] for line in lines] == [0, 1]
    assert "train/loss" not in lines[0]
    assert lines[1]["train/loss"] > 0
    assert lines[0]["val/accuracy"] == pytest.approx(head["val"]["accuracy"])
    assert lines[0]["val/log_loss"] == pytest.approx(head["val"]["log_loss"], abs=1e-5)
    tuned = json.loads((finished.folder / "results/metrics/photos-glyphnet/photos-tuned.json").read_text())
    assert tuned["test"]["n"] == head["test"]["n"]
    assert "photos-tuned" in finished.run("python", "-m", "pipeline", "compare")
    printed = finished.run(
        "python", "-m", "pipeline", "predict", "photos-glyphnet/photos-tuned", str(finished.folder / "raw/photos/dark")
    )
    assert len(answers(printed)) == 30
