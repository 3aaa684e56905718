"""What params.yaml may say where labels are sets: the rest is refused in one line."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from icebox.features.errors import IceboxError
from icebox.pipeline.config import loader, plugin_schema

SETS: dict[str, Any] = {
    "datasets": {"d": {"source": "csv_text", "path": "d.csv", "task": "multilabel", "label": ["a", "b"]}},
    "backbones": {"hashing": {}},
    "stores": {"d-hashing": {"dataset": "d", "backbone": "hashing"}},
    "heads": ["logreg"],
}


def load(folder: Path, **sections: Any) -> loader.Config:
    path = folder / "params.yaml"
    with path.open("w") as stream:
        YAML(typ="safe", pure=True).dump(SETS | sections, stream)
    return loader.load(path)


@pytest.mark.parametrize("label", [["a", "b"], {"sep": "|"}, {"column": "tags"}, [0, 1]])
def test_sets_are_named_in_several_ways_and_chosen_by_mean_average_precision(tmp_path: Path, label: object):
    dataset = SETS["datasets"]["d"] | {"label": label, "split": {"stratify": True}}
    loaded = load(
        tmp_path, datasets={"d": dataset}, heads=["logreg", "ridge", "knn", "mlp", "linear_probe", "lightgbm"]
    )
    assert loaded.task("d-hashing") == "multilabel"
    assert loaded.fit_options("d-hashing").choose == "mean_ap"
    assert load(tmp_path, fit={"choose": "label_f1_micro"}).fit_options("d-hashing").choose == "label_f1_micro"


@pytest.mark.parametrize(
    "head", ["centroid", "gaussian_nb", "hist_gb", "lda", "linear_svm", "random_forest", "rbf_svm"]
)
def test_other_heads_say_which_heads_there_are(tmp_path: Path, head: str):
    message = (
        rf"^heads.{head}: '{head}' has no form for sets of labels \(task: multilabel\); "
        "fresh, knn, lightgbm, linear_probe, logreg, mlp, ridge have; leave it out$"
    )
    with pytest.raises(IceboxError, match=message):
        load(tmp_path, heads=[head])


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        ({"class_weights": "balanced"}, "fit.class_weights: needs one class an item"),
        ({"calibrate": "temperature"}, "fit.calibrate: needs one class an item"),
        ({"decide": "f1_macro"}, "fit.decide: thresholds of sets of labels are chosen for F1"),
        ({"decide": {"costs": {"a": {"b": 5}}}}, "fit.decide: thresholds of sets of labels are chosen for F1"),
        ({"adapt": "standardize"}, "fit.adapt: assumes shares of single classes"),
    ],
)
def test_ways_of_fitting_that_need_one_class_are_refused(tmp_path: Path, fit: dict[str, Any], message: str):
    with pytest.raises(IceboxError, match=message):
        load(tmp_path, fit=fit)


def test_a_labels_recall_decides_after_every_refit_in_ensembles_and_unfreezing(tmp_path: Path):
    sections = {"ensembles": {"d-hashing": {}}, "unfreeze": {"u": {"store": "d-hashing", "start": "logreg"}}}
    fit: dict[str, Any] = {"decide": {"recall": {"a": 0.95}}}
    assert load(tmp_path, fit=fit, heads=["logreg", "knn"], **sections).fit_options("d-hashing").decide == fit["decide"]
    load(tmp_path, fit=fit | {"refit": "train+val"})


def test_an_ensemble_needs_two_heads_with_probabilities(tmp_path: Path):
    load(tmp_path, ensembles={"d-hashing": {}}, heads=["logreg", "knn"])
    message = (
        r"ensembles.d-hashing: expected two heads or more with probabilities, found logreg of logreg, ridge; add heads "
        r"of those that have them: fresh, knn, lightgbm, linear_probe, logreg, mlp$"
    )
    with pytest.raises(IceboxError, match=message):
        load(tmp_path, ensembles={"d-hashing": {}}, heads=["logreg", "ridge"])
    with pytest.raises(IceboxError, match=r"chooses its members by their scores on val, and folds: 3 leaves none"):
        load(tmp_path, ensembles={"d-hashing": {}}, heads=["logreg", "knn"], fit={"folds": 3})


def test_networks_are_unfrozen_from_heads_of_sets_alone(tmp_path: Path):
    load(tmp_path, unfreeze={"u": {"store": "d-hashing", "start": "logreg"}})
    with pytest.raises(IceboxError, match=r"unfreeze.u.start: 'lda' \(lda\) is not for multilabel, the task of"):
        load(tmp_path, unfreeze={"u": {"store": "d-hashing", "start": "lda"}}, heads=["logreg", "lda"])


def test_a_task_of_a_heads_keyword_is_its_own(tmp_path: Path):
    assert plugin_schema.head_tasks("logreg") == ("classification", "segmentation", "multilabel")
    assert plugin_schema.head_tasks("ridge") == ("classification", "segmentation", "regression", "multilabel")
    assert plugin_schema.head_tasks("random_forest") == ("classification", "segmentation", "regression")
    assert plugin_schema.head_tasks("lda") == ("classification", "segmentation")
