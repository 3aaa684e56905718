"""Every head that is for masks, fitted on maps of small pictures, chosen on val and scored at their own size."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch

from icebox.features import plugins
from icebox.pipeline.config import plugin_schema
from icebox.pipeline.config.fit import Fit
from icebox.pipeline.config.schema import PluginEntry
from icebox.pipeline.data import dense
from icebox.pipeline.data.dense import DenseData
from icebox.pipeline.dense import segmenting
from icebox.pipeline.fitting import dense_fit, head_factory
from icebox.pipeline.fitting.final_fit import FitResult
from tests.dense import store

HEADS = [name for name in plugins.names("icebox.pipeline.heads") if "segmentation" in plugin_schema.head_tasks(name)]
QUICK: dict[str, dict[str, Any]] = {
    "hist_gb": {"max_iter": 10},
    "lightgbm": {"n_estimators": 10},
    "linear_probe": {"epochs": 10, "batch_size": 32},
    "mlp": {"epochs": 10, "hidden": 16, "batch_size": 16, "learning_rate": 0.05},
    "pixel_conv": {"epochs": 8, "width": 8, "layers": 1, "batch_size": 2, "learning_rate": 0.05, "dropout": 0.0},
    "pixel_mlp": {"epochs": 5, "hidden": 16, "batch_size": 64, "learning_rate": 0.05, "share": 0.5},
    "pixel_linear": {"C": 1.0, "share": 0.5},
    "random_forest": {"n_estimators": 10},
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Torch on one thread: on networks so small, several wait for each other most of the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DenseData:
    folder: Path = tmp_path_factory.mktemp("scenes")
    views = ["identity", "hflip"]
    return dense.load(store(folder, "rrrrrrrrvvtt", views=views), views=views)


def fitted(name: str, data: DenseData, **fit: Any) -> FitResult:
    factory = head_factory.create(
        PluginEntry(name, {}), "segmentation", f"heads.{name}", columns=data.maps.column_ranges
    )
    options = Fit(choose="miou", **fit)
    return dense_fit.fit_head(factory, [QUICK.get(name, {})], data, options, where="here")


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.slow
def test_it_learns_what_is_easy_and_survives_being_saved(name: str, data: DenseData, tmp_path: Path) -> None:
    result = fitted(name, data)
    head, test = result.seeds[0].fitted.head, result.seeds[0].tests["test"]
    assert set(test.scores) == {"n", "miou", "pixel_accuracy", "boundary_f1"}
    assert test.scores["miou"] > 0.5 or name == "fresh"  # which learns nothing, and is there for that
    assert result.search.chosen_on == "val"
    assert result.search.table[0]["miou"] == pytest.approx(result.val.scores["miou"])
    joblib.dump(head, tmp_path / "head")
    again = segmenting.score(joblib.load(tmp_path / "head"), data, data.tests["test"])
    assert again.predictions.answers == test.predictions.answers


@pytest.mark.parametrize("name", [name for name in HEADS if name.startswith("pixel_")])
@pytest.mark.slow
def test_the_same_seed_gives_the_same_answers_and_the_same_file(name: str, data: DenseData, tmp_path: Path) -> None:
    results = [fitted(name, data, refit="train+val") for _ in range(2)]
    first, second = (result.seeds[0] for result in results)
    assert first.tests["test"].predictions.answers == second.tests["test"].predictions.answers
    assert first.val is None  # it was fitted on val
    for i, each in enumerate((first, second)):
        joblib.dump(each.fitted.head, tmp_path / f"{i}")
    if name == "pixel_conv":
        assert (tmp_path / "0").read_bytes() == (tmp_path / "1").read_bytes()


@pytest.mark.parametrize(("name", "weights"), [("pixel_linear", "sqrt"), ("pixel_conv", {"square": 5.0})])
@pytest.mark.slow
def test_it_takes_weights_of_classes(name: str, weights: Any, data: DenseData) -> None:
    plain, weighted = (fitted(name, data, class_weights=each).seeds[0].tests["test"] for each in ("none", weights))
    assert weighted.scores["miou"] > 0.4
    found = [each.predictions.sample.by_class(data.classes)[1]["recall"] for each in (plain, weighted)]
    assert found[1] >= found[0] - 0.05


def test_heads_of_whole_maps_say_so_in_their_file() -> None:
    for name in HEADS:
        file = plugins.file("icebox.pipeline.heads", name)
        has_maps = hasattr(plugins.load("icebox.pipeline.heads", name).build(), "fit_maps")
        assert plugin_schema.constant(file, "WHOLE_MAPS") is (True if has_maps else None)


def test_a_seed_more_is_a_fit_more_where_there_is_randomness(data: DenseData) -> None:
    seeds = fitted("pixel_conv", data, seeds=2).seeds
    assert [each.fitted.seed for each in seeds] == [0, 1]
    assert np.isfinite(seeds[1].val["miou"])
    assert len(fitted("pixel_linear", data, seeds=2).seeds) == 1
