"""The stage on a store of maps with boxes, as dvc runs it, to the leaderboard."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from icebox.features.abc.targets import Boxes
from icebox.features.errors import IceboxError
from icebox.pipeline.comparison import formats
from icebox.pipeline.config import loader
from icebox.pipeline.inference import bundle, predict
from icebox.pipeline.project import paths
from icebox.pipeline.stages import fit
from tests import dense_boxes
from tests.dense_boxes import CLASSES, store

SOURCE = """
from icebox.features.abc.dataset import DenseDataset
TASK = "detection"
class Source(DenseDataset):
    task = "detection"
"""
QUICK = "family: boxes, epochs: 2, width: 8, layers: 1, batch_size: 4"
PARAMS = f"""
datasets: {{blobs: {{source: blobs}}}}
backbones: {{colors: {{family: pixels}}}}
stores: {{blobs-colors: {{dataset: blobs, backbone: colors}}}}
heads:
  near: {{{QUICK}, learning_rate: [0.02, 0.01]}}
  far: {{{QUICK}, learning_rate: 0.0001}}
fit: {{refit: train+val, seeds: 2, choose: ap}}
"""


def prepare(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(bundle.datasets, "source", lambda config, name: bundle.datasets)
    monkeypatch.setattr(bundle.datasets, "modality", "image", raising=False)
    source = Path("plugins/datasets/blobs.py")
    source.parent.mkdir(parents=True)
    source.write_text(SOURCE)
    paths.PARAMS.write_text(PARAMS)
    store(folder, "rrrrrrvvtttt").folder.rename(folder / "made")
    paths.store("blobs-colors").parent.mkdir(parents=True)
    Path("made").rename(paths.store("blobs-colors"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    prepare(tmp_path, monkeypatch)
    return tmp_path


@pytest.mark.slow
def test_heads_of_boxes_are_fitted_scored_and_compared(project: Path) -> None:
    config = loader.load()
    for head in ("near", "far"):
        fit.run(config, f"blobs-colors-{head}")
    metrics = json.loads(paths.metrics("blobs-colors", "near").read_text())
    assert set(metrics["test"]) == {"n", "ap50", "ap", "ar"}
    assert (metrics["test"]["n"], metrics["train_n"]) == (4, 6)
    details = json.loads(paths.details("blobs-colors", "near").read_text())
    assert (details["task"], details["choose"], details["chosen_on"]) == ("detection", "ap", "val")
    best = max(details["search"], key=lambda trial: trial["ap"])
    assert details["chosen"]["learning_rate"] == best["learning_rate"]
    assert metrics["val"]["ap"] == pytest.approx(best["ap"])
    lines = details["by_class"]["test"]
    assert [each["class"] for each in lines] == CLASSES
    assert np.mean([each["ap50"] for each in lines]) == pytest.approx(metrics["test"]["ap50"], abs=1e-5)
    table = pq.read_table(paths.predictions("blobs-colors", "near"))
    assert table["split"].to_pylist() == ["val"] * 2 + ["test"] * 4
    for scores, corners in zip(table["count_scores"].to_pylist(), table["corners"].to_pylist(), strict=True):
        assert 4 * len(scores) == len(corners)
    opened = bundle.load(paths.bundle("blobs-colors", "near"))
    assert (opened.task, opened.classes) == ("detection", CLASSES)
    first, second = formats.records(config)
    assert {first["head"], second["head"]} == {"near", "far"}
    assert (first["metric"], first["reference"]) == ("ap", None)
    assert second["p"] is not None
    assert "AP on 4 test items" in formats.as_table([first, second])


def test_new_pictures_for_a_head_of_whole_pictures_are_one_line(project: Path) -> None:
    fit.run(loader.load(), "blobs-colors-near")
    with pytest.raises(IceboxError, match=r"predict blobs-colors/near: .* detection") as caught:
        predict.open_head("blobs-colors/near")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ignored", [False, True])
def test_a_test_set_without_a_box_that_counts_is_scored_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ignored: bool
) -> None:
    whole = dense_boxes.scene

    def scene(number: int) -> tuple[np.ndarray, Boxes]:
        picture, boxes = whole(number)
        if number < 8:
            return picture, boxes
        if ignored:
            return picture, Boxes(boxes.size, boxes.corners, boxes.labels, np.ones(len(boxes), bool))
        return picture, Boxes(boxes.size, boxes.corners[:0], boxes.labels[:0], boxes.ignored[:0])

    monkeypatch.setattr(dense_boxes, "scene", scene)
    prepare(tmp_path, monkeypatch)
    config = loader.load()
    for head in ("near", "far"):
        fit.run(config, f"blobs-colors-{head}")
    assert {each["head"] for each in formats.records(config)} == {"near", "far"}
    lines = json.loads(paths.details("blobs-colors", "near").read_text())["by_class"]["test"]
    assert [(each["n"], each["ap50"]) for each in lines] == [(0, None), (0, None)]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("labels_per_class: 5", r"fit\.labels_per_class: "),
        ("calibrate: temperature, refit: train", r"fit\.calibrate: "),
        ("class_weights: balanced", r"fit\.class_weights: "),
        ("choose: miou", r"fit\.choose: expected one of ap50, ap, ar, found 'miou'"),
    ],
)
def test_what_boxes_can_not_have_is_one_line(project: Path, key: str, expected: str) -> None:
    paths.PARAMS.write_text(PARAMS.replace("refit: train+val, seeds: 2, choose: ap", key))
    with pytest.raises(IceboxError, match=expected) as caught:
        loader.load()
    assert "\n" not in str(caught.value)


def test_where_a_score_of_classes_is_named_boxes_take_their_first(project: Path) -> None:
    paths.PARAMS.write_text(PARAMS.replace("choose: ap", "choose: f1_macro"))
    assert loader.load().fit_options("blobs-colors").choose == "ap50"


@pytest.mark.parametrize("family", ["logreg", "pixel_linear", "pixel_conv"])
def test_a_head_of_another_task_is_one_line(project: Path, family: str) -> None:
    paths.PARAMS.write_text(PARAMS.replace("heads:\n", f"heads:\n  other: {{family: {family}}}\n"))
    with pytest.raises(IceboxError, match=r"heads\.other") as caught:
        loader.load()
    assert "\n" not in str(caught.value)
