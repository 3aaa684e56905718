"""Every file in pipeline/heads is tested at birth."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
from sklearn.datasets import make_blobs
from sklearn.pipeline import Pipeline
from sklearn.utils.estimator_checks import check_estimator

from features import plugins

HEADS = plugins.names("pipeline.heads")
PIPELINE = "scikit-learn's own pipelines fit their steps in place, and its own suite exempts them"
# {check: why it does not apply}
OF_PIPELINES = {"check_dont_overwrite_parameters": PIPELINE, "check_estimators_overwrite_params": PIPELINE}
EXCEPTIONS = {
    "lightgbm": {
        "check_no_attributes_set_in_init": "LGBMClassifier takes the library's own parameters as **kwargs",
        "check_all_zero_sample_weights_error": "LightGBM itself accepts weights that are all zero",
        "check_sample_weight_equivalence_on_dense_data": "trees look at columns drawn at random",
        "check_sample_weight_equivalence_on_sparse_data": "trees look at columns drawn at random",
    }
}


def blobs(classes: int):
    X, y = make_blobs(n_samples=40 * classes, centers=classes, n_features=6, random_state=0)
    return X.astype(np.float32), y


@pytest.mark.parametrize("name", HEADS)
def test_it_passes_scikit_learns_estimator_checks(name):
    head = plugins.load("pipeline.heads", name).build()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the checks feed what any estimator would warn of
        exceptions = EXCEPTIONS.get(name, OF_PIPELINES if isinstance(head, Pipeline) else None)
        results = check_estimator(head, expected_failed_checks=exceptions, on_fail=None)
    failed = {r["check_name"]: str(r["exception"]) for r in results if r["status"] == "failed"}
    assert failed == {}


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", HEADS)
def test_it_learns_what_is_easy_and_survives_being_saved(name, classes, tmp_path):
    X, y = blobs(classes)
    head = plugins.load("pipeline.heads", name).build().fit(X, y)
    assert head.score(X, y) > 0.95
    joblib.dump(head, tmp_path / "head")
    np.testing.assert_array_equal(joblib.load(tmp_path / "head").predict(X), head.predict(X))


@pytest.mark.parametrize("name", HEADS)
def test_probabilities_sum_to_one(name):
    X, y = blobs(3)
    head = plugins.load("pipeline.heads", name).build().fit(X, y)
    if hasattr(head, "predict_proba"):
        np.testing.assert_allclose(head.predict_proba(X).sum(axis=1), 1, rtol=1e-6)
    else:
        assert head.decision_function(X).shape == (len(X), 3)


@pytest.mark.parametrize("name", HEADS)
def test_the_same_seed_gives_the_same_head_even_when_fits_run_side_by_side(name):
    random = np.random.default_rng(0)
    X, y = random.normal(size=(300, 600)).astype(np.float32), random.integers(0, 3, 300)
    build = plugins.load("pipeline.heads", name).build
    with ThreadPoolExecutor(4) as pool:
        heads = list(pool.map(lambda _: build().fit(X, y), range(8)))
    scores = [h.predict_proba(X) if hasattr(h, "predict_proba") else h.decision_function(X) for h in heads]
    for other in scores[1:]:
        np.testing.assert_array_equal(scores[0], other)
