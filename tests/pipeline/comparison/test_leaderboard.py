"""The leaderboard over metrics written by hand."""

from pathlib import Path

import pytest

from icebox.features.errors import IceboxError
from icebox.pipeline.comparison import leaderboard
from icebox.pipeline.config import loader
from icebox.pipeline.evaluation import results
from icebox.pipeline.project import paths

PARAMS = """
datasets: {digits: {}, words: {source: docstrings}}
backbones: {hashing: {}, pixels: {}}
stores:
  words-hashing: {dataset: words, backbone: hashing}
  digits-pixels: {dataset: digits, backbone: pixels}
heads: [logreg, linear_svm]
fit: {choose: accuracy}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths.PARAMS.write_text(PARAMS)
    metrics("words-hashing", "logreg", val=0.5, test=0.9, log_loss=0.3)
    metrics("words-hashing", "linear_svm", val=0.6, test=0.4)
    metrics("digits-pixels", "logreg", val=0.8, test=0.7, log_loss=0.2)
    metrics("digits-pixels", "linear_svm", val=0.8, test=0.75)


def metrics(store: str, head: str, *, val: float, test: float, **both: float) -> None:
    found = {
        "val": {"n": 10, "accuracy": val, "f1_macro": 1 - val, **both},
        "test": {"n": 10, "accuracy": test, "f1_macro": 0.25, **both},
        "train_n": 20,
        "fit_s": 0.126,
        "predict_s": 0.01,
    }
    results.write_json(paths.metrics(store, head), found)
    results.write_json(paths.details(store, head), {"chosen": {"C": 0.1, "max_iter": 100}, "settings": 1})


def order(*stores: str) -> list[tuple[str, str]]:
    return [(entry.store, entry.head) for entry in leaderboard.entries(loader.load(), stores)]


def choose(measure: str) -> None:
    paths.PARAMS.write_text(PARAMS.replace("choose: accuracy", f"choose: {measure}"))


@pytest.mark.usefixtures("project")
def test_datasets_stand_as_in_params_and_in_each_the_best_on_val_first_whatever_test_says():
    assert order() == [
        ("digits-pixels", "linear_svm"),  # as good as logreg on val: by name
        ("digits-pixels", "logreg"),
        ("words-hashing", "linear_svm"),
        ("words-hashing", "logreg"),
    ]


@pytest.mark.usefixtures("project")
def test_ranks_by_the_measure_that_chose_the_heads():
    choose("f1_macro")
    assert order("words-hashing") == [("words-hashing", "logreg"), ("words-hashing", "linear_svm")]


@pytest.mark.usefixtures("project")
def test_an_entrys_metric_is_the_one_that_chose():
    choose("f1_macro")
    assert [(entry.metric.name, entry.val_score, entry.score) for entry in leaderboard.entries(loader.load())] == [
        ("f1_macro", pytest.approx(0.2), 0.25),
        ("f1_macro", pytest.approx(0.2), 0.25),
        ("f1_macro", 0.5, 0.25),
        ("f1_macro", 0.4, 0.25),
    ]


@pytest.mark.usefixtures("project")
def test_where_no_head_has_probabilities_accuracy_stands_in_for_log_loss():
    choose("log_loss")
    for head in ("logreg", "linear_svm"):
        metrics("words-hashing", head, val=0.5, test=0.9)
    assert {entry.metric.name for entry in leaderboard.entries(loader.load(), ["words-hashing"])} == {"accuracy"}


@pytest.mark.usefixtures("project")
def test_stores_chosen_by_different_measures_are_ranked_by_one():
    """A log loss beside an accuracy would say nothing."""
    other = "  other: {dataset: words, backbone: hashing, input: {choose: log_loss}}\n"
    paths.PARAMS.write_text(PARAMS.replace("stores:\n", f"stores:\n{other}"))
    metrics("other", "logreg", val=0.55, test=0.9, log_loss=0.01)
    metrics("other", "linear_svm", val=0.7, test=0.9)
    entries = leaderboard.entries(loader.load(), ["words-hashing", "other"])
    assert {entry.metric.name for entry in entries} == {"accuracy"}
    assert [entry.val_score for entry in entries] == [0.7, 0.6, 0.55, 0.5]


@pytest.mark.usefixtures("project")
def test_a_smaller_log_loss_is_better_and_a_head_without_one_comes_last():
    choose("log_loss")
    metrics("digits-pixels", "logreg", val=0.8, test=0.7, log_loss=9.0)
    paths.PARAMS.write_text(paths.PARAMS.read_text().replace("[logreg, linear_svm]", "[knn, linear_svm, logreg]"))
    metrics("digits-pixels", "knn", val=0.1, test=0.1, log_loss=0.1)
    assert [head for _, head in order("digits-pixels")] == ["knn", "logreg", "linear_svm"]


@pytest.mark.usefixtures("project")
def test_an_entry_holds_what_fit_wrote():
    entry = leaderboard.read_entry(loader.load(), "words-hashing", "logreg")
    assert (entry.dataset, entry.backbone, entry.train_n, entry.fit_s) == ("words", "hashing", 20, 0.126)
    assert entry.val == {"n": 10, "accuracy": 0.5, "f1_macro": 0.5, "log_loss": 0.3}
    assert entry.chosen == {"C": 0.1, "max_iter": 100}


@pytest.mark.usefixtures("project")
def test_results_are_read_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Where the paths are absolute, and where a folder on the way is called as another kind of result."""
    elsewhere = tmp_path / "metrics" / "details"
    monkeypatch.setattr(paths, "METRICS", elsewhere / "metrics")
    monkeypatch.setattr(paths, "DETAILS", elsewhere / "details")
    metrics("words-hashing", "logreg", val=0.25, test=0.75)
    entry = leaderboard.read_entry(loader.load(), "words-hashing", "logreg")
    assert (entry.val["accuracy"], entry.test["accuracy"], entry.settings) == (0.25, 0.75, 1)


@pytest.mark.usefixtures("project")
def test_missing_metrics_name_the_stage_that_makes_them():
    paths.metrics("digits-pixels", "logreg").unlink()
    with pytest.raises(IceboxError, match=r"digits-pixels/logreg\.json: not found; run: dvc repro fit@digits-pixels-l"):
        order()


@pytest.mark.usefixtures("project")
def test_a_store_without_results_gets_a_suggestion():
    with pytest.raises(IceboxError, match=r"compare digits-pixel: .* did you mean 'digits-pixels'"):
        order("digits-pixel")


@pytest.mark.usefixtures("project")
def test_a_regression_is_ranked_by_its_error_whatever_chooses_elsewhere_and_however_small():
    for head, rmse in (("logreg", 2e-8), ("linear_svm", 1.9999e-8)):
        scores = {"n": 10, "rmse": rmse, "mae": rmse, "r2": 0.5}
        found = {"val": scores, "test": scores, "train_n": 20, "fit_s": 0.1}
        results.write_json(paths.metrics("digits-pixels", head), found)
    assert [head for _, head in order("digits-pixels")] == ["linear_svm", "logreg"]


def test_no_parameters_are_described_by_nothing():
    assert leaderboard.format_parameters({}) == ""


INPUTS = "inputs: {digits-pixels/few: {labels_per_class: 5}}\n"


@pytest.mark.usefixtures("project")
def test_an_input_stands_beside_its_store_under_its_own_name():
    paths.PARAMS.write_text(PARAMS + INPUTS)
    for head in ("logreg", "linear_svm"):
        metrics("digits-pixels/few", head, val=0.9, test=0.5)
    entries = leaderboard.entries(loader.load(), ["digits-pixels"])
    assert [entry.name for entry in entries] == [
        "digits-pixels/few/linear_svm", "digits-pixels/few/logreg", "digits-pixels/linear_svm", "digits-pixels/logreg",
    ]  # fmt: skip
    assert {(entry.dataset, entry.backbone, entry.store) for entry in entries} == {
        ("digits", "pixels", "digits-pixels")
    }
    assert [entry.label for entry in entries][::2] == ["pixels/few", "pixels"]
    assert len(leaderboard.entries(loader.load(), ["digits-pixels/few"])) == 2


@pytest.mark.usefixtures("project")
def test_what_params_no_longer_name_is_still_on_disk():
    paths.PARAMS.write_text(PARAMS + INPUTS)
    for head in ("logreg", "linear_svm"):
        metrics("digits-pixels/few", head, val=0.9, test=0.5)
    details = {"chosen": {}, "settings": 1, "dataset": "old", "backbone": "net"}
    metrics("old-net", "knn", val=0.1, test=0.1)
    results.write_json(paths.details("old-net", "knn"), details)
    paths.PARAMS.write_text(PARAMS)
    here = leaderboard.entries(loader.load(), on_disk=True)
    assert [entry.name for entry in here if not entry.in_params] == [
        "digits-pixels/few/linear_svm", "digits-pixels/few/logreg", "old-net/knn",
    ]  # fmt: skip
    assert (here[-1].dataset, here[-1].backbone) == ("old", "net")
    assert all(entry.in_params for entry in leaderboard.entries(loader.load()))


@pytest.mark.usefixtures("project")
def test_what_has_no_results_yet_is_named():
    assert leaderboard.unfitted(loader.load()) == []
    paths.PARAMS.write_text(PARAMS + INPUTS)
    assert leaderboard.unfitted(loader.load()) == ["digits-pixels/few/logreg", "digits-pixels/few/linear_svm"]


def test_without_any_results_it_says_what_to_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths.PARAMS.write_text(PARAMS)
    with pytest.raises(IceboxError, match="no results here; run: icebox run"):
        leaderboard.entries(loader.load(), on_disk=True)
