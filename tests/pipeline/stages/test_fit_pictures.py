"""The stage on a store of maps with masks, as dvc runs it, to the leaderboard."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from icebox.features.errors import IceboxError
from icebox.pipeline.comparison import formats
from icebox.pipeline.config import loader
from icebox.pipeline.inference import bundle, predict
from icebox.pipeline.project import paths
from icebox.pipeline.stages import fit
from tests.dense import CLASSES, store

SOURCE = """
from icebox.features.abc.dataset import DenseDataset
TASK = "segmentation"
class Source(DenseDataset):
    task = "segmentation"
"""
PARAMS = """
datasets: {scenes: {source: scenes}}
backbones: {colors: {family: pixels}}
stores: {scenes-colors: {dataset: scenes, backbone: colors}}
heads: {pixel_linear: {C: [1.0, 0.0001], share: 0.5}, gaussian_nb: {}}
fit: {refit: train+val, class_weights: sqrt}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    source = Path("plugins/datasets/scenes.py")
    source.parent.mkdir(parents=True)
    source.write_text(SOURCE)
    paths.PARAMS.write_text(PARAMS)
    store(tmp_path, "rrrrrrvvtttt").folder.rename(tmp_path / "made")
    paths.store("scenes-colors").parent.mkdir(parents=True)
    Path("made").rename(paths.store("scenes-colors"))
    return tmp_path


def test_heads_of_cells_are_fitted_scored_and_compared(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle.datasets, "source", lambda config, name: bundle.datasets)
    monkeypatch.setattr(bundle.datasets, "modality", "image", raising=False)
    config = loader.load()
    for head in ("pixel_linear", "gaussian_nb"):
        fit.run(config, f"scenes-colors-{head}")
    metrics = json.loads(paths.metrics("scenes-colors", "pixel_linear").read_text())
    assert set(metrics) >= {"val", "test", "train_n", "fit_s", "predict_s"}
    assert set(metrics["test"]) == {"n", "miou", "pixel_accuracy", "boundary_f1"}
    assert (metrics["test"]["n"], metrics["train_n"]) == (4, 6)
    details = json.loads(paths.details("scenes-colors", "pixel_linear").read_text())
    assert (details["task"], details["choose"], details["chosen_on"]) == ("segmentation", "miou", "val")
    assert details["chosen"] == {"C": 1.0, "share": 0.5}
    assert details["search"][0]["miou"] == pytest.approx(metrics["val"]["miou"])
    assert [each["class"] for each in details["by_class"]["test"]] == CLASSES
    table = pq.read_table(paths.predictions("scenes-colors", "pixel_linear"))
    assert table.column_names == ["item_id", "split", "count_confusions", "count_boundary_score", "mask"]
    assert table["split"].to_pylist() == ["val"] * 2 + ["test"] * 4
    opened = bundle.load(paths.bundle("scenes-colors", "pixel_linear"))
    assert (opened.task, opened.classes, opened.head_outputs) == ("segmentation", CLASSES, ["fine", "coarse"])
    first, second = formats.records(config)
    assert {first["head"], second["head"]} == {"pixel_linear", "gaussian_nb"}
    assert first["metric"] == "miou"
    assert first["reference"] == "ground"
    assert second["p"] is not None
    text = formats.as_table([first, second])
    assert "mIoU on 4 test items" in text
    assert "always “ground”" in text


def test_new_pictures_for_a_head_of_whole_pictures_are_one_line(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle.datasets, "source", lambda config, name: bundle.datasets)
    monkeypatch.setattr(bundle.datasets, "modality", "image", raising=False)
    fit.run(loader.load(), "scenes-colors-gaussian_nb")
    with pytest.raises(IceboxError, match=r"predict scenes-colors/gaussian_nb: .* segmentation") as caught:
        predict.open_head("scenes-colors/gaussian_nb")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("labels_per_class", "5", r"fit\.labels_per_class: needs one class an item"),
        ("calibrate", "temperature", r"fit\.calibrate: needs one class an item"),
        ("folds", "5", r"fit\.folds: compares by folds"),
        ("adapt", "standardize", r"fit\.adapt: aligns one vector an item"),
        ("choose", "ap50", r"fit\.choose: expected one of miou, pixel_accuracy, boundary_f1, found 'ap50'"),
        ("choose", "rmse", r"fit\.choose: expected one of miou, pixel_accuracy, boundary_f1, found 'rmse'"),
    ],
)
def test_what_pictures_can_not_have_is_one_line(project: Path, key: str, value: str, expected: str) -> None:
    paths.PARAMS.write_text(PARAMS.replace("refit: train+val, ", f"{key}: {value}, "))
    with pytest.raises(IceboxError, match=expected):
        loader.load()


def test_a_head_of_another_task_is_one_line(project: Path) -> None:
    paths.PARAMS.write_text(PARAMS.replace("gaussian_nb: {}", "ridge: {}, pixel_conv: {}"))
    loader.load()
    paths.PARAMS.write_text(
        PARAMS.replace("scenes: {source: scenes}", "scenes: {source: docstrings}").replace(
            "family: pixels", "family: hashing"
        )
    )
    with pytest.raises(
        IceboxError, match=r"heads\.pixel_linear: is for segmentation only, and the task of scenes-colors"
    ):
        loader.load()


def test_an_ensemble_of_heads_of_pictures_is_one_line(project: Path) -> None:
    paths.PARAMS.write_text(PARAMS + "ensembles: {scenes-colors: {}}\n")
    with pytest.raises(IceboxError, match=r"ensembles\.scenes-colors: needs probabilities of items' classes, and segm"):
        loader.load()
