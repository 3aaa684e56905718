import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification

from icebox.features import plugins
from icebox.features.errors import IceboxError
from icebox.pipeline.estimators.decision import ThresholdHead
from icebox.pipeline.estimators.torch_conversion import as_torch

STEPS = [{"scale": scale} for scale in ("each", "overall", "l2", "none")] + [{"scale": "each", "pca": 4}]


def build(name: str, **parameters):
    return plugins.load("icebox.pipeline.heads", name).build(**parameters)


def items(classes: int):
    X, y = make_classification(120, 8, n_informative=6, n_classes=classes, random_state=0)
    return (3 * X + 1).astype(np.float32), y


@pytest.mark.parametrize("steps", STEPS, ids=str)
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", ["logreg", "ridge", "linear_svm", "linear_probe", "centroid", "lda", "mlp"])
@pytest.mark.slow
def test_it_predicts_what_the_head_predicts(name, classes, steps):
    X, y = items(classes)
    head = build(name, **steps).fit(X, y)
    with torch.no_grad():
        scores = as_torch(head).eval()(torch.from_numpy(X))
    assert scores.shape == (len(X), classes)
    if hasattr(head, "predict_proba"):
        np.testing.assert_allclose(scores.softmax(1).numpy(), head.predict_proba(X), atol=2e-5)
    margins = np.sort(scores.numpy(), axis=1)
    clear = margins[:, -1] - margins[:, -2] > 1e-4
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(scores.argmax(1).numpy()[clear], head.predict(X)[clear])


@pytest.mark.parametrize("steps", STEPS, ids=str)
@pytest.mark.parametrize("name", ["logreg", "ridge", "linear_probe", "mlp"])
def test_of_sets_it_gives_each_labels_logit_without_thresholds(name, steps):
    X, y = items(4)
    head = build(name, task="multilabel", **steps).fit(X, np.column_stack([y > 0, y % 2, y == 3]).astype(np.int8))
    with torch.no_grad():
        scores = as_torch(ThresholdHead(head, np.array([0.1, 0.2, 0.9]))).eval()(torch.from_numpy(X))
    if hasattr(head, "predict_proba"):
        np.testing.assert_allclose(scores.sigmoid().numpy(), head.predict_proba(X), atol=2e-5)
    else:
        np.testing.assert_allclose(scores.numpy(), head.decision_function(X), atol=2e-5)


def test_a_direction_in_which_nothing_varies_does_no_harm():
    X, y = items(2)
    X[:, 3] = 7
    with torch.no_grad():
        scores = as_torch(build("logreg", pca=8).fit(X, y)).eval()(torch.from_numpy(X))
    assert torch.isfinite(scores).all()


def test_a_head_that_is_not_linear_is_refused_by_name():
    X, y = items(2)
    with pytest.raises(IceboxError, match="expected `start:` to be logreg"):
        as_torch(build("knn").fit(X, y))


@pytest.mark.parametrize("size", [1e-8, 1.0, 1e6])
@pytest.mark.parametrize("name", ["ridge", "linear_svm", "linear_probe", "mlp"])
def test_of_a_regression_the_module_gives_values_in_the_unit_of_the_labels(name: str, size: float):
    random = np.random.default_rng(0)
    X = random.normal(size=(60, 5)).astype(np.float32)
    head = build(name, task="regression")
    head.fit(X, (X @ np.arange(5) + 7) * size)
    with torch.inference_mode():
        values = as_torch(head).eval()(torch.from_numpy(X)).numpy().reshape(-1)
    np.testing.assert_allclose(values, head.predict(X), rtol=1e-4, atol=1e-4 * size)
