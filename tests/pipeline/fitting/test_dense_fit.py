import tracemalloc
from pathlib import Path

import pytest

from benchmarks import dense as benchmark
from icebox.features.errors import IceboxError
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.config.fit import Fit
from icebox.pipeline.config.schema import PluginEntry
from icebox.pipeline.data import dense, maps
from icebox.pipeline.dense import segmenting
from icebox.pipeline.fitting import dense_fit, head_factory
from icebox.pipeline.fitting.search import NoCandidateFits
from tests.dense import store


def fit(tmp_path: Path, name: str, candidates, splits: str = "rrrrrrvvtt", **options):
    data = dense.load(store(tmp_path, splits))
    factory = head_factory.create(PluginEntry(name, {}), "segmentation", "heads")
    return dense_fit.fit_head(factory, candidates, data, Fit(choose="miou", **options), where="here"), data


def test_the_best_on_val_wins_and_its_scores_are_those_of_all_val_pictures(tmp_path: Path) -> None:
    candidates = [{"C": C, "share": share} for share in (0.3, 0.6) for C in (1e-6, 1.0)]
    result, data = fit(tmp_path, "pixel_linear", candidates)
    table = result.search.table
    assert [line["C"] for line in table] == [each["C"] for each in candidates]
    assert result.search.scores["miou"] == max(line["miou"] for line in table)
    assert result.search.parameters["C"] == 1.0
    assert "boundary_f1" not in table[0]  # costs more than all else, and does not choose
    whole = segmenting.score(result.seeds[0].fitted.head, data, data.val)
    assert whole.scores["miou"] == pytest.approx(result.search.scores["miou"])
    assert result.seeds[0].val == whole.scores


def test_refitted_on_both_the_winner_has_seen_val(tmp_path: Path) -> None:
    alone, _ = fit(tmp_path / "a", "pixel_linear", [{"C": 1.0, "share": 1.0}])
    both, _ = fit(tmp_path / "b", "pixel_linear", [{"C": 1.0, "share": 1.0}], refit="train+val")
    assert alone.search.scores == both.search.scores
    assert both.seeds[0].val is None
    pairs = [result.seeds[0].fitted.head.estimator_.coef_ for result in (alone, both)]
    assert (pairs[0] != pairs[1]).any()


def test_a_head_that_stopped_by_val_stops_there_when_it_is_refitted(tmp_path: Path) -> None:
    settings = {"epochs": 4, "hidden": 4, "batch_size": 64, "share": 0.5, "learning_rate": 0.05}
    result, _ = fit(tmp_path, "pixel_mlp", [settings], refit="train+val")
    stopped = result.search.trials[0].refit_parameters["stop_after"]
    assert result.seeds[0].fitted.head.estimator_.stop_after == stopped


def test_boundaries_may_choose(tmp_path: Path) -> None:
    data = dense.load(store(tmp_path))
    factory = head_factory.create(PluginEntry("pixel_linear", {}), "segmentation", "heads")
    result = dense_fit.fit_head(factory, [{"C": 1.0}], data, Fit(choose="boundary_f1"), where="here")
    assert result.search.metric == "boundary_f1"


def test_a_setting_that_can_not_be_fitted_is_passed_over(tmp_path: Path) -> None:
    result, _ = fit(tmp_path, "knn", [{"n_neighbors": 100_000}, {"n_neighbors": 3}])
    assert result.search.parameters == {"n_neighbors": 3}
    assert "n_neighbors" in result.search.table[0]["failed"]
    with pytest.raises(NoCandidateFits, match="no setting can be fitted on 6 pictures"):
        fit(tmp_path / "other", "knn", [{"n_neighbors": 100_000}])


def test_a_store_is_never_in_memory_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark.make(tmp_path / "s", 60, size=(24, 32), depth=64, classes=3)
    monkeypatch.setattr(dense, "CELL_BYTES", 500_000)
    monkeypatch.setattr(maps, "PIECE_BYTES", 400_000)
    monkeypatch.setattr(maps, "RELEASE_BYTES", 400_000)
    data = dense.load(FeatureStore(tmp_path / "s"))
    store_bytes = 60 * 24 * 32 * 64 * 4  # as float32: 11.8 MB
    factory = head_factory.create(PluginEntry("pixel_linear", {}), "segmentation", "heads")
    tracemalloc.start()
    try:
        result = dense_fit.fit_head(factory, [{"share": 0.05}], data, Fit(choose="miou"), where="here")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < store_bytes / 2
    assert result.seeds[0].tests["test"].scores["miou"] > 0.3


def test_without_val_it_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(IceboxError, match="expected pictures in val, by which heads are chosen, found none"):
        fit(tmp_path, "pixel_linear", [{}], "rrrrtt")


@pytest.mark.parametrize(("name", "takes"), [("pixel_linear", True), ("pixel_conv", True), ("knn", False)])
def test_heads_without_weights_are_known(name: str, takes: bool) -> None:
    factory = head_factory.create(PluginEntry(name, {}), "segmentation", "heads")
    assert dense_fit.takes_weights(factory, {}) is takes
