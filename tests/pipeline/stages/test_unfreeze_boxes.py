"""The stages on pictures with boxes, by params alone: a small network, its heads, and training on from them."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from icebox.features.errors import IceboxError
from icebox.pipeline.comparison import evaluate_pictures, leaderboard
from icebox.pipeline.config import loader
from icebox.pipeline.inference import predict
from icebox.pipeline.project import paths
from icebox.pipeline.stages import extract, fetch, fit, manifest, unfreeze
from icebox.pipeline.training import curves
from icebox.pipeline.unfreezing.trainer import FineTuner
from tests.dense_boxes import CLASSES, scene

NETWORK = """
from torch import nn


def build():
    layers = [nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1)]
    return nn.Sequential(*layers)
"""
PARAMS = """
datasets: {blobs: {source: image_boxes, path: blobs.csv, split: part}}
backbones:
  tiny: {family: module, build: 'network:build', weights: random, size: [24, 32]}
stores:
  blobs-tiny:
    dataset: blobs
    backbone: tiny
    outputs: ['2:map', '4:map']
    views: [identity, hflip]
    precision: float32
    stored: float32
heads:
  boxes: {epochs: 30, width: 16, layers: 2, components: 16, learning_rate: 0.02, dropout: 0.0, batch_size: 4}
  fresh: {}
inputs: {blobs-tiny/plain: {views: [identity, hflip]}}
fit: {seeds: 1, choose: ap}
run: {device: cpu, workers: 1}
"""
SPLITS = ["train"] * 8 + ["val"] * 3 + ["test"] * 3


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with its store and the heads on it, in a folder that tests copy."""
    folder = tmp_path_factory.mktemp("blobs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        rows = ["image,label,xmin,ymin,xmax,ymax,part"]
        for i, part in enumerate(SPLITS):
            picture, boxes = scene(i)
            Image.fromarray(picture).resize((64, 48)).save(f"{i}.png")  # twice the size that the network sees
            for corners, label in zip(2 * boxes.corners, boxes.labels.tolist(), strict=True):
                rows.append(f"{i}.png,{CLASSES[label]},{','.join(map(str, corners.tolist()))},{part}")
        Path("blobs.csv").write_text("\n".join(rows))
        Path("network.py").write_text(NETWORK)
        paths.PARAMS.write_text(PARAMS)
        config = loader.load()
        manifest.run(config, "blobs")
        fetch.run(config, "tiny")
        extract.run(config, "blobs-tiny")
        for head in ("boxes", "fresh"):
            fit.run(config, f"blobs-tiny/plain-{head}")
    return folder


@pytest.fixture
def project(stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the stored project, as the current folder."""
    shutil.copytree(stored, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train_on(**changes: str) -> dict[str, Any]:
    """Unfreeze with some values of `tuned` changed → its details."""
    entry = {"store": "blobs-tiny", "start": "plain/boxes", "epochs": "2", "batch_size": "4", "learning_rate": "0.003"}
    line = ", ".join(f"{key}: {value}" for key, value in (entry | changes).items())
    paths.PARAMS.write_text(f"{PARAMS}unfreeze: {{tuned: {{{line}}}}}\n")
    unfreeze.run(loader.load(), "tuned")
    details: dict[str, Any] = json.loads(paths.details("blobs-tiny", "tuned").read_text())
    return details


def test_a_network_is_trained_on_from_its_head_and_answers_as_it_was_scored(project: Path) -> None:
    details = train_on(augment="[flip]")
    curve = details["unfrozen"]["by_seed"][0]
    assert (details["task"], details["choose"]) == ("detection", "ap")
    assert details["unfrozen"]["parameters_trained"] > 0
    metrics = json.loads(paths.metrics("blobs-tiny", "tuned").read_text())
    assert set(metrics["test"]) == {"n", "ap50", "ap", "ar"}
    assert curve["best_epoch"] in (0, 1, 2)
    table = pq.read_table(paths.predictions("blobs-tiny", "tuned"))
    assert table["split"].to_pylist() == ["val"] * 3 + ["test"] * 3
    opened = predict.open_head("blobs-tiny/tuned", of_pictures=True)
    assert (opened.bundle.backbone, opened.bundle.task, opened.bundle.classes) == ("tuned", "detection", CLASSES)
    predict.to_folder(opened, [f"{i}.png" for i in range(11, 14)], out=project / "new", on_error="fail")
    boxes = json.loads((project / "new/boxes.json").read_text())["annotations"]
    for number, corners, scores in zip(
        (1, 2, 3), table["corners"].to_pylist()[3:], table["count_scores"].to_pylist()[3:], strict=True
    ):
        mine = [each for each in boxes if each["image_id"] == number]
        np.testing.assert_allclose([each["score"] for each in mine], scores, atol=2e-5)
        sides = np.reshape(corners, (-1, 4))
        expected = np.column_stack([sides[:, :2], sides[:, 2:] - sides[:, :2]])  # in pixels of 64×48
        np.testing.assert_allclose([each["bbox"] for each in mine], expected, atol=0.02)
    lines = Path("blobs.csv").read_text().splitlines()
    test_rows = [line for line in lines if line.endswith((",part", ",test"))]
    Path("further.csv").write_text("\n".join(test_rows))
    scores = evaluate_pictures.evaluate(opened, ["further.csv"]).scores
    assert scores["ap50"].value == pytest.approx(metrics["test"]["ap50"], abs=1e-4)
    compared = leaderboard.entries(loader.load(), on_disk=True)
    assert {(each.input_name, each.head) for each in compared} == {
        ("blobs-tiny", "tuned"), ("blobs-tiny/plain", "boxes"), ("blobs-tiny/plain", "fresh")
    }  # fmt: skip


def curve_of(name: str) -> dict[str, float]:
    """The lines of a value of the curve, by epoch."""
    return {str(int(line["step"])): line[name] for line in curves.read(paths.curve("tuned")) if name in line}


@pytest.mark.parametrize("free", ["all", "last 1"])  # the second with stored activations
def test_before_the_first_step_it_scores_as_the_head_that_it_begins_from(project: Path, free: str) -> None:
    fitted = json.loads(paths.metrics("blobs-tiny/plain", "boxes").read_text())["val"]
    assert fitted["ap"] > 0.01
    details = train_on(epochs="1", free=free)
    assert details["unfrozen"]["entered_behind"] == (None if free == "all" else "0")
    for name in ("ap", "ap50", "ar"):
        assert curve_of(f"val/{name}")["0"] == pytest.approx(fitted[name], abs=1e-5)


def test_from_stored_activations_it_ends_as_from_the_whole_network(project: Path) -> None:
    losses = []
    for cut in ("on", "off"):
        train_on(cut=cut, free="last 1")
        losses.append(list(curve_of("train/loss").values()))
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_in_bfloat16_it_learns_about_as_in_float32(project: Path) -> None:
    losses = []
    for precision in ("float32", "bfloat16"):
        train_on(precision=precision, augment="[flip]", average="0.5")
        losses.append(list(curve_of("train/loss").values()))
    np.testing.assert_allclose(*losses, rtol=0.05)


def test_a_random_network_is_the_control_and_learns(project: Path) -> None:
    details = train_on(start="plain/fresh", init="random", epochs="6", head_learning_rate="0.01")
    assert details["unfrozen"]["entered_behind"] is None
    losses = list(curve_of("train/loss").values())
    assert losses[-1] < 0.7 * losses[0]
    head = predict.open_head("blobs-tiny/tuned", of_pictures=True).bundle.head
    assert head.width == 96  # of a head's default settings


def test_a_killed_run_goes_on_and_ends_as_one_that_was_not(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_on(augment="[flip]", epochs="3")
    whole = paths.bundle("blobs-tiny", "tuned").read_bytes()
    save = FineTuner.save_checkpoint

    def killed(tuner: FineTuner, checkpoint: Any) -> None:
        save(tuner, checkpoint)
        if tuner.progress.epochs == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(FineTuner, "save_checkpoint", killed)
        with pytest.raises(KeyboardInterrupt):
            train_on(augment="[flip]", epochs="3")
    train_on(augment="[flip]", epochs="3")
    assert paths.bundle("blobs-tiny", "tuned").read_bytes() == whole


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"augment": "[crop]"}, "augment: boxes follow flip, found crop"),
        ({"augment": "[flip, turn]"}, "augment: boxes follow flip, found turn"),
        ({"mixup": "0.2"}, "mixup: expected labels, found boxes"),
        ({"r_drop": "1"}, "r_drop: expected labels, found boxes"),
        ({"label_smoothing": "0.1"}, "label_smoothing: expected labels, found boxes"),
        ({"cut": "on", "augment": "[flip]"}, "cut: on, but that needs .*no augment"),
    ],
)
def test_what_boxes_can_not_have_is_one_line(project: Path, changes: dict[str, str], expected: str) -> None:
    with pytest.raises(IceboxError, match=rf"^unfreeze\.tuned: [^\n]*{expected}[^\n]*$"):
        train_on(**changes)
