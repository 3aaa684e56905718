import json
import math
import socket
import subprocess

import pytest

from icebox.pipeline.training.curves import Curve, read, summarize

LINES = [(0, {"train/loss": math.nan, "val/accuracy": 0.5}), (1, {"train/loss": 1 / 3, "val/accuracy": 0.75})]


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """One of git and DVC, with a commit; nothing may be called over the network."""

    def refuse(*_):
        raise AssertionError("a call over the network")

    monkeypatch.chdir(tmp_path)
    for command in ("git init -q", "dvc init -q", "git -c user.name=t -c user.email=t@example.org commit -qm first"):
        subprocess.run(command.split(), check=True, capture_output=True)
    monkeypatch.setenv("DVC_STUDIO_TOKEN", "isat_token")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tmp_path


def drawn(folder, lines=LINES):
    curve = Curve(folder)
    for step, values in lines:
        curve.add(step, values)
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_what_is_written_is_read_and_numbers_that_are_none_are_left_out(repository):
    files = drawn(repository / "curve")
    assert set(files) == {"metrics.json", "plots/metrics/train/loss.tsv", "plots/metrics/val/accuracy.tsv"}
    assert files["plots/metrics/train/loss.tsv"] == "step\tloss\n1\t0.333333\n"
    assert json.loads(files["metrics.json"]) == {"val": {"accuracy": 0.75}, "train": {"loss": 0.333333}, "step": 1}
    assert read(repository / "curve") == [
        {"step": 0, "val/accuracy": 0.5},
        {"step": 1, "train/loss": 0.333333, "val/accuracy": 0.75},
    ]
    assert read(repository / "none") == []


def test_the_bytes_are_those_that_dvclive_wrote(repository):
    assert (
        drawn(repository / "curve")["metrics.json"]
        == """{
    "val": {
        "accuracy": 0.75
    },
    "step": 1,
    "train": {
        "loss": 0.333333
    }
}
"""
    )


def test_it_can_be_read_while_the_training_runs(repository):
    curve = Curve(repository / "curve")
    curve.add(*LINES[1])
    assert read(repository / "curve") == [{"step": 1, "train/loss": 0.333333, "val/accuracy": 0.75}]
    assert json.loads((repository / "curve/metrics.json").read_text())["step"] == 1


def test_a_curve_drawn_again_has_the_same_bytes_and_none_of_the_old_lines(repository):
    first = drawn(repository / "curve", [*LINES, (2, {"val/accuracy": 0.8})])
    assert drawn(repository / "curve") == drawn(repository / "other") != first


def test_it_needs_no_commit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in ("git init -q", "dvc init -q"):
        subprocess.run(command.split(), check=True, capture_output=True)
    assert len(drawn(tmp_path / "curve")) == 3


def test_it_saves_no_experiment_and_writes_no_dvc_yaml_and_calls_nobody(repository):
    drawn(repository / "curve")
    assert not (repository / "dvc.yaml").exists()
    assert not list((repository / ".git/refs").rglob("exps"))
    changed = subprocess.run(["git", "status", "--porcelain"], check=True, capture_output=True, text=True).stdout
    assert changed.split() == ["??", "curve/"]


def test_numbers_of_the_whole_training_stand_beside_the_last_ones(repository):
    curve = Curve(repository / "curve")
    curve.add(*LINES[1])
    curve.add_summary({"best_epoch": 1})
    summary = json.loads((repository / "curve/metrics.json").read_text())
    assert summary == {"train": {"loss": 0.333333}, "val": {"accuracy": 0.75}, "step": 1, "best_epoch": 1}


def test_of_classes_the_best_the_first_that_is_near_and_the_gap():
    curve = [
        {"epoch": 0, "loss": float("nan"), "accuracy": 0.5, "log_loss": 0.9},
        {"epoch": 1, "loss": 0.6, "accuracy": 0.77, "log_loss": 0.7},
        {"epoch": 2, "loss": 0.3, "accuracy": 0.8, "log_loss": 0.5},
        {"epoch": 3, "loss": 0.1, "accuracy": 0.8, "log_loss": 0.6},
    ]
    assert summarize(curve, "accuracy") == {"epochs": 3, "best_epoch": 2, "near_best_epoch": 1, "val_minus_train": 0.2}
    assert summarize(curve, "log_loss")["near_best_epoch"] == 2


def test_of_numbers_smaller_errors_are_better():
    curve = [{"epoch": i, "loss": 0.1, "rmse": rmse} for i, rmse in enumerate([1.0, 0.52, 0.5, 0.6])]
    summary = summarize(curve, "rmse")
    assert (summary["best_epoch"], summary["near_best_epoch"]) == (2, 1)
    assert summary["val_minus_train"] == pytest.approx(0.25 - 0.1)


def test_a_training_that_never_got_better_has_no_gap():
    curve = [
        {"epoch": 0, "loss": float("nan"), "accuracy": 0.9, "log_loss": 1.0},
        {"epoch": 1, "loss": 1.0, "accuracy": 0.8, "log_loss": 1.0},
    ]
    assert summarize(curve, "accuracy") == {"epochs": 1, "best_epoch": 0, "near_best_epoch": 0}
