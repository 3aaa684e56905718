"""Every head that is for boxes, fitted on maps of small pictures, chosen on val and scored in their own pixels."""

from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from icebox.features import plugins
from icebox.features.errors import NotApplicable
from icebox.pipeline.config import plugin_schema
from icebox.pipeline.config.fit import Fit
from icebox.pipeline.config.schema import PluginEntry
from icebox.pipeline.data import dense
from icebox.pipeline.data.dense import DenseData
from icebox.pipeline.dense import detecting
from icebox.pipeline.fitting import dense_fit, head_factory
from icebox.pipeline.fitting.final_fit import FitResult
from tests.dense_boxes import store

HEADS = [name for name in plugins.names("icebox.pipeline.heads") if "detection" in plugin_schema.head_tasks(name)]
NETWORKS = [
    name for name in HEADS if plugin_schema.accepts(plugins.file("icebox.pipeline.heads", name), "build", "epochs")
]
QUICK: dict[str, Any] = {
    "epochs": 60, "width": 16, "layers": 2, "batch_size": 4, "learning_rate": 0.02, "dropout": 0.0, "patience": 60
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DenseData:
    views = ["identity", "hflip"]
    return dense.load(store(tmp_path_factory.mktemp("blobs"), "rrrrrrrrrrrrvvttt", views=views), views=views)


def fitted(name: str, data: DenseData, settings: dict[str, Any] = QUICK, **fit: Any) -> FitResult:
    settings = settings if name in NETWORKS else {}
    columns = {f"color:{output}": ranges for output, ranges in data.maps.column_ranges.items()}
    factory = head_factory.create(PluginEntry(name, {}), "detection", f"heads.{name}", columns=columns)
    return dense_fit.fit_head(factory, [settings], data, Fit(choose="ap50", **fit), where="here")


@pytest.mark.parametrize("name", HEADS)
def test_it_finds_what_is_easy_and_survives_being_saved(name: str, data: DenseData, tmp_path: Path) -> None:
    result = fitted(name, data, seeds=1)
    head, test = result.seeds[0].fitted.head, result.seeds[0].tests["test"]
    assert set(test.scores) == {"n", "ap50", "ap", "ar"}
    assert test.scores["ap50"] > 0.8 or name == "fresh"  # which learns nothing, and is there for that
    joblib.dump(head, tmp_path / "head")
    again = detecting.score(joblib.load(tmp_path / "head"), data, data.tests["test"])
    for mine, theirs in zip(again.predictions.answers["corners"], test.predictions.answers["corners"], strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("name", HEADS)
def test_the_same_seed_gives_the_same_file(name: str, data: DenseData, tmp_path: Path) -> None:
    for i in range(2):
        head = fitted(name, data, QUICK | {"epochs": 2}, refit="train+val", seeds=1).seeds[0].fitted.head
        joblib.dump(head, tmp_path / str(i))
    assert (tmp_path / "0").read_bytes() == (tmp_path / "1").read_bytes()


@pytest.mark.parametrize("epochs", [1, 2, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_training_of_few_steps_has_a_schedule_too(name: str, epochs: int, data: DenseData) -> None:
    head = fitted(name, data, QUICK | {"epochs": epochs, "batch_size": 4}, seeds=1).seeds[0].fitted.head
    assert head.n_epochs_ <= epochs
    head = fitted(name, data, QUICK | {"epochs": epochs, "batch_size": 100}, seeds=1).seeds[0].fitted.head
    assert head.n_epochs_ <= epochs


def test_maps_without_colors_have_no_blobs(data: DenseData) -> None:
    factory = head_factory.create(PluginEntry("blobs", {}), "detection", "heads.blobs", columns=data.maps.column_ranges)
    with pytest.raises(NotApplicable, match=r"^blobs are of colors: store `color:map` of the backbone pixels"):
        dense_fit.fit_head(factory, [{}], data, Fit(choose="ap50"), where="here")
