"""Every file in pipeline/heads is tested at birth."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.datasets import make_blobs
from sklearn.utils.estimator_checks import check_estimator
from threadpoolctl import threadpool_limits

from icebox.features import plugins
from icebox.pipeline.config import plugin_schema
from icebox.pipeline.estimators.base import fit_keywords
from tests import tables

HEADS = [  # those of whole maps: test_dense_heads.py; zero_shot, of which nothing is fitted: heads/test_zero_shot.py
    name
    for name in plugins.names("icebox.pipeline.heads")
    if plugin_schema.constant(plugins.file("icebox.pipeline.heads", name), "WHOLE_MAPS") is None and name != "zero_shot"
]
SMALL = {
    "hist_gb": {"max_iter": 30},
    "linear_probe": {"batch_size": 64},
    "pixel_mlp": {"batch_size": 16, "learning_rate": 0.003},
    "random_forest": {"n_estimators": 20},
    "tabicl": {"weights": Path(__file__)},
    "tabpfn": {"weights": Path(__file__)},
}  # {head: what keeps it quick here}
EXCEPTIONS = {  # {head: {check: why it does not apply}}
    "lda": {"check_classifiers_one_label": "scikit-learn's own fails; stores have two classes or more"},
    "rbf_svm": {"check_classifiers_one_label_sample_weights": "libsvm says the same in words of its own"},
}


@pytest.fixture(autouse=True)
def networks_of_tables(monkeypatch):
    """Stand-ins for packages whose weights are their users' own."""
    tables.stand_in(monkeypatch)


def blobs(classes: int):
    X, y = make_blobs(n_samples=40 * classes, centers=classes, n_features=6, random_state=0)
    return X.astype(np.float32), y


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.slow
def test_it_passes_scikit_learns_estimator_checks(name):
    head = plugins.load("icebox.pipeline.heads", name).build(**SMALL.get(name, {}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the checks feed what any estimator would warn of
        results = check_estimator(head, expected_failed_checks=EXCEPTIONS.get(name), on_fail=None)
    failed = {r["check_name"]: str(r["exception"]) for r in results if r["status"] == "failed"}
    assert failed == {}


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", HEADS)
def test_it_learns_what_is_easy_and_survives_being_saved(name, classes, tmp_path):
    X, y = blobs(classes)
    head = plugins.load("icebox.pipeline.heads", name).build(**SMALL.get(name, {})).fit(X, y)
    assert head.score(X, y) > 0.95 or name == "fresh"  # which learns nothing, and is there for that
    joblib.dump(head, tmp_path / "head")
    np.testing.assert_array_equal(joblib.load(tmp_path / "head").predict(X), head.predict(X))


@pytest.mark.parametrize("name", HEADS)
def test_probabilities_sum_to_one(name):
    X, y = blobs(3)
    head = plugins.load("icebox.pipeline.heads", name).build(**SMALL.get(name, {})).fit(X, y)
    if hasattr(head, "predict_proba"):
        np.testing.assert_allclose(head.predict_proba(X).sum(axis=1), 1, rtol=1e-6)
    else:
        assert head.decision_function(X).shape == (len(X), 3)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.slow
def test_the_same_seed_gives_the_same_head_even_when_fits_run_side_by_side(name):
    random = np.random.default_rng(0)
    X, y = random.normal(size=(300, 400)).astype(np.float32), random.integers(0, 3, 300)
    build = partial(plugins.load("icebox.pipeline.heads", name).build, **SMALL.get(name, {}))
    with threadpool_limits(1), ThreadPoolExecutor(4) as pool:
        heads = list(pool.map(lambda _: build(**SMALL.get(name, {})).fit(X, y), range(8)))
    scores = [h.predict_proba(X) if hasattr(h, "predict_proba") else h.decision_function(X) for h in heads]
    for other in scores[1:]:
        np.testing.assert_array_equal(scores[0], other)


@pytest.mark.parametrize("name", [n for n in HEADS if "regression" in plugin_schema.head_tasks(n)])
def test_of_values_it_learns_what_is_easy(name):
    random = np.random.default_rng(0)
    X = random.normal(size=(400, 4)).astype(np.float32)
    y = 1000 + 50 * (X @ [1, 2, 3, 4])
    head = plugins.load("icebox.pipeline.heads", name).build(task="regression", **SMALL.get(name, {})).fit(X, y)
    assert head.score(X, y) > 0.7 or name == "fresh"


@pytest.mark.parametrize("name", HEADS)
def test_it_takes_the_weights_and_the_val_that_it_says_it_takes(name):
    X, y = blobs(3)
    build = partial(plugins.load("icebox.pipeline.heads", name).build, **SMALL.get(name, {}))
    fit_params = {"sample_weight": np.where(y == 0, 2.0, 1.0), "val": (X, y)}
    accepted = {key: value for key, value in fit_params.items() if key in fit_keywords(build())}
    head = build().fit(X, y, **accepted)
    assert ("val" in accepted) == hasattr(head, "refit_parameters")
    if "val" in accepted:
        build(**head.refit_parameters()).fit(X, y)
    assert head.score(X, y) > 0.9 or name == "fresh"


@pytest.mark.parametrize("name", HEADS)
def test_its_file_says_whether_it_has_probabilities(name):
    X, y = blobs(2)
    head = plugins.load("icebox.pipeline.heads", name).build(**SMALL.get(name, {})).fit(X, y)
    assert plugin_schema.gives_probabilities(name) == hasattr(head, "predict_proba")


FOR_SETS = {"linear_probe": {"learning_rate": 0.03}}  # few items, few steps
SETS = [name for name in HEADS if "multilabel" in plugin_schema.head_tasks(name)]


def sets_of_labels(n: int = 240):
    """Three labels of several items each, and one that hardly any item has."""
    random = np.random.default_rng(0)
    X = random.normal(size=(n, 6)).astype(np.float32)
    return X, np.column_stack([X[:, 0] > 0, X[:, 1] > 0.5, X[:, 2] > -0.5, np.arange(n) < 2]).astype(np.int8)


def set_head(name, X, y, **fit_params):
    build = partial(plugins.load("icebox.pipeline.heads", name).build, task="multilabel", **FOR_SETS.get(name, {}))
    accepted = {key: value for key, value in fit_params.items() if key in fit_keywords(build())}
    return build().fit(X, y, **accepted)


def set_scores(head, X):
    return head.predict_proba(X) if hasattr(head, "predict_proba") else head.decision_function(X)


def test_the_heads_for_sets_of_labels_are_those_of_the_docs():
    assert SETS == ["fresh", "knn", "lightgbm", "linear_probe", "logreg", "mlp", "ridge"]


@pytest.mark.parametrize("name", SETS)
def test_of_sets_it_learns_each_label_for_itself_and_survives_being_saved(name, tmp_path):
    X, y = sets_of_labels()
    head = set_head(name, X, y)
    scores, predicted = set_scores(head, X), head.predict(X)
    assert scores.shape == predicted.shape == y.shape
    assert set(np.unique(predicted)) <= {0, 1}
    assert ((predicted == y).mean(axis=0)[:3] > 0.85).all() or name == "fresh"
    if hasattr(head, "predict_proba"):
        assert ((scores >= 0) & (scores <= 1)).all()
        assert not np.allclose(scores.sum(axis=1), 1)
    assert head.classes_.tolist() == [0, 1, 2, 3]
    joblib.dump(head, tmp_path / "head")
    np.testing.assert_array_equal(set_scores(joblib.load(tmp_path / "head"), X), scores)


@pytest.mark.parametrize("name", SETS)
def test_of_sets_it_takes_labels_that_all_items_have_or_none(name):
    X, y = sets_of_labels()
    y[:, 3], y[:, 2] = 0, 1
    predicted = set_head(name, X, y).predict(X)
    assert (predicted[:, 3] == 0).all()
    assert (predicted[:, 2] == 1).all()


@pytest.mark.parametrize("name", SETS)
def test_of_sets_it_takes_the_weights_and_the_val_that_it_says_it_takes(name):
    X, y = sets_of_labels()
    head = set_head(name, X, y, sample_weight=np.where(y[:, 0], 2.0, 1.0), val=(X[:50], y[:50]))
    if hasattr(head, "refit_parameters"):
        again = plugins.load("icebox.pipeline.heads", name).build(task="multilabel", **head.refit_parameters())
        assert again.fit(X, y).predict(X).shape == y.shape


@pytest.mark.parametrize("name", SETS)
def test_of_sets_the_same_seed_gives_the_same_head(name):
    X, y = sets_of_labels()
    np.testing.assert_array_equal(set_scores(set_head(name, X, y), X), set_scores(set_head(name, X, y), X))
