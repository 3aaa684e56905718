"""Every head on labels that lack a class, and on numbers of any size: fitted, or passed over with a reason."""

import warnings

import numpy as np
import pytest

from icebox.features import plugins
from icebox.features.manifest.validation import Task
from icebox.pipeline.config import plugin_schema
from icebox.pipeline.config.fit import Fit
from icebox.pipeline.config.schema import PluginEntry
from icebox.pipeline.data.labelled import LabelledData, LabelledSplit
from icebox.pipeline.fitting import final_fit, head_factory
from icebox.pipeline.fitting.search import NoCandidateFits
from tests import tables

HEADS = [  # that learn from labels: of zero_shot nothing is fitted
    n
    for n in plugins.names("icebox.pipeline.heads")
    if "classification" in plugin_schema.head_tasks(n) and n != "zero_shot"
]
REGRESSORS = [n for n in HEADS if "regression" in plugin_schema.head_tasks(n)]
QUICK = {
    "hist_gb": {"max_iter": 10},
    "lightgbm": {"n_estimators": 10},
    "linear_probe": {"epochs": 2},
    "mlp": {"epochs": 20, "hidden": 16, "batch_size": 16, "learning_rate": 0.02},
    "random_forest": {"n_estimators": 10},
    "tabicl": {"weights": __file__},
    "tabpfn": {"weights": __file__},
}
CLASSES = ["a", "b", "c", "d"]
TRAINS = {  # labels of train, of a store with four classes; val and test have all four
    "a class that train lacks": [1, 2, 3] * 8,
    "the last class missing": [0, 1, 2] * 8,
    "a class of one item": [0, 1, 2] * 8 + [3],
    "two classes of four": [1, 3] * 8,
    "one class of four": [2] * 12,
    "one item of each class": [0, 1, 2, 3],
}
CANNOT = {  # {what train is like: heads that say why they can't be fitted, where others can}
    "one class of four": set(HEADS) - {"fresh", "knn", "random_forest", "gaussian_nb"},
    "one item of each class": {"knn", "lda"},
}


@pytest.fixture(autouse=True)
def networks_of_tables(monkeypatch):
    """Stand-ins for packages whose weights are their users' own."""
    tables.stand_in(monkeypatch)


def split(labels: list[int], first: int = 0) -> LabelledSplit:
    y = np.array(labels)
    random = np.random.default_rng(first)
    features = random.normal(size=(len(y), 6)).astype(np.float32)
    features[np.arange(len(y)), y % 6] += 8
    ids = np.array([f"i{first + n}" for n in range(len(y))])
    return LabelledSplit(ids, features, y, ids)


def fit_head(name: str, data: LabelledData, task: Task = "classification", **fit: object) -> final_fit.FitResult:
    entry = PluginEntry(name, QUICK.get(name, {}))
    factory = head_factory.create(entry, task, f"heads.{name}")
    settings = Fit(seeds=1, **fit)  # type: ignore[arg-type]
    return final_fit.fit_head(factory, [entry.parameters], data, settings, sample_weighter=lambda labels: None)


@pytest.mark.parametrize("train", TRAINS)
@pytest.mark.parametrize("name", HEADS)
def test_a_head_is_fitted_without_a_class_or_says_why_not(name: str, train: str):
    every = [0, 1, 2, 3] * 4
    data = LabelledData(CLASSES, {"train": split(TRAINS[train]), "val": split(every, 100), "test": split(every, 200)})
    if name in CANNOT.get(train, ()):
        with pytest.raises(NoCandidateFits, match=r"^no setting can be fitted on \d+ items: [^\n]+$"):
            fit_head(name, data)
        return
    result = fit_head(name, data)
    scored = result.seeds[0].tests["test"]
    assert set(scored.predictions.predicted) <= set(TRAINS[train])
    assert scored.predictions.scores.shape == (16, 4)
    assert all(np.isfinite(score) for score in scored.scores.values())
    if name != "fresh" and train not in CANNOT:
        assert scored.scores["accuracy"] > 0.7 * len(set(TRAINS[train]) & {0, 1, 2}) / 4


@pytest.mark.parametrize("name", ["hist_gb", "lightgbm", "mlp"])
def test_items_of_a_class_that_train_lacks_stop_no_training(name: str):
    """Stopped by val's items of known classes alone, just as if the others were not there."""
    train, known = split([1, 2, 3] * 8), split([1, 2, 3] * 4, 100)
    more = split([1, 2, 3] * 4 + [0] * 30, 100)
    more.features[:12] = known.features
    heads = []
    for val in (known, more):
        head = plugins.load("icebox.pipeline.heads", name).build(**QUICK[name])
        heads.append(head.fit(train.features, train.labels, val=(val.features, val.labels)))
    one, other = (head.predict_proba(known.features) for head in heads)
    np.testing.assert_array_equal(one, other)
    unknown = split([0] * 9, 300)
    head = plugins.load("icebox.pipeline.heads", name).build(**QUICK[name])
    head.fit(train.features, train.labels, val=(unknown.features, unknown.labels))
    assert head.refit_parameters() == {}  # nothing to stop by: trained to the end


@pytest.mark.parametrize("name", HEADS)
def test_by_folds_a_class_of_two_items_is_scored_too_and_fewer_folds_are_told(name: str):
    data = LabelledData(CLASSES[:3], {"train": split([0, 1] * 8 + [2, 2]), "test": split([0, 1, 2], 100)})
    result = fit_head(name, data, folds=5)
    assert result.search.fewer_folds == "settings were compared on 2 folds, not 5, which need 5 items of each class"
    assert result.search.chosen_on == "2-fold in train"


@pytest.mark.parametrize("size", [1e-8, 1e8])
@pytest.mark.parametrize("shift", [0.0, 1e6], ids=["about 0", "far from 0"])
@pytest.mark.parametrize("name", REGRESSORS)
@pytest.mark.slow
def test_a_regression_does_not_depend_on_the_unit_of_its_labels(name: str, size: float, shift: float):
    random = np.random.default_rng(0)
    X = random.normal(size=(160, 4)).astype(np.float32)
    y = X @ [1.0, 2.0, 0.0, -1.0] + random.normal(size=160) / 5

    def fitted(labels: np.ndarray) -> final_fit.FitResult:
        ids = np.array([f"i{n}" for n in range(160)])
        whole = LabelledSplit(ids, X, labels, ids)
        rows = np.split(np.arange(160), (100, 130))
        parts = {split: whole.take(each) for split, each in zip(("train", "val", "test"), rows, strict=True)}
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            return fit_head(name, LabelledData([], parts, "regression"), "regression")

    one, other = (fitted(labels).seeds[0].tests["test"].scores for labels in (y, (y + shift) * size))
    near = 0.05 if name == "random_forest" else 1e-3  # a forest's splits are often equally good but for rounding
    assert other["r2"] == pytest.approx(one["r2"], abs=near)
    assert other["rmse"] == pytest.approx(one["rmse"] * size, rel=near)
    assert one["r2"] > 0.5 or name == "fresh"
