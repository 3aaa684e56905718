"""Every head of pipeline/heads as a network answers as the head itself does, or says in one line why it has none."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs

from icebox.features import plugins
from icebox.features.errors import IceboxError
from icebox.pipeline.config import plugin_schema
from icebox.pipeline.data.labelled import LabelledSplit
from icebox.pipeline.estimators.alignment import AlignedHead, measure
from icebox.pipeline.estimators.decision import OffsetHead, ThresholdHead
from icebox.pipeline.estimators.ensemble import MeanEnsemble, MeanSets
from icebox.pipeline.estimators.torch_conversion import as_torch
from icebox.pipeline.estimators.torch_module import ModuleSets
from icebox.pipeline.evaluation import predictions
from icebox.pipeline.export.graph import heads as exported_heads
from icebox.pipeline.export.graph.heads import network_of
from icebox.pipeline.fitting.final_fit import calibrate

HEADS = "icebox.pipeline.heads"
WITHOUT_EXPORT = ("rbf_svm", "tabicl", "tabpfn", "fresh")  # which say why
NAMES = [
    name
    for name in plugins.names(HEADS)
    if plugin_schema.constant(plugins.file(HEADS, name), "WHOLE_MAPS") is None and name not in ("tabicl", "tabpfn")
]
SMALL = {
    "hist_gb": {"max_iter": 10},
    "lightgbm": {"n_estimators": 10},
    "linear_probe": {"batch_size": 64, "epochs": 3},
    "mlp": {"epochs": 3, "hidden": 8},
    "random_forest": {"n_estimators": 10},
}


def blobs(classes=3):
    X, y = make_blobs(n_samples=40 * classes, centers=classes, n_features=6, cluster_std=4.0, random_state=0)
    return X.astype(np.float32), y


def build(name, **keywords):
    return plugins.load(HEADS, name).build(**SMALL.get(name, {}) | keywords)


def zero_shot():
    from icebox.pipeline.heads.zero_shot import PreprocessedHead, ZeroShot

    return PreprocessedHead(ZeroShot(np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)), scale="l2")


@torch.no_grad()
def answers(head, X, *, task="classification", classes=0):
    scores, answer = network_of(head, task=task, classes=classes)(torch.from_numpy(X))
    return scores.numpy(), answer.numpy()


def assert_same(head, X, classes, atol=2e-6):
    scores, answer = answers(head, X, classes=classes)
    expected = predictions.predict(head, X, classes)
    np.testing.assert_allclose(scores, expected.scores, rtol=1e-5, atol=atol)
    np.testing.assert_array_equal(answer, expected.predicted)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_of_classes(name, classes):
    X, y = blobs(classes)
    if name == "zero_shot":
        y, head = y % 3, zero_shot().fit(X, y)
        classes = 3
    else:
        head = build(name).fit(X, y)
    if name in WITHOUT_EXPORT:
        with pytest.raises(IceboxError, match="has no export: ") as refusal:
            network_of(head, task="classification", classes=classes)
        assert "\n" not in str(refusal.value)
        return
    assert_same(head, X, classes)


@pytest.mark.parametrize("settings", [{"scale": "overall"}, {"scale": "l2"}, {"scale": "none"}, {"pca": 3}])
def test_behind_every_preprocessing(settings):
    X, y = blobs()
    assert_same(build("logreg", **settings).fit(X, y), X, 3)


def test_behind_blocks_of_columns():
    X, y = blobs()
    head = build("logreg").set_params(blocks=[(0, 2), (2, 6)]).fit(X, y)
    assert_same(head, X, 3)


@pytest.mark.parametrize("settings", [{"metric": "euclidean"}, {"weights": "uniform"}, {"n_neighbors": 1}])
def test_of_neighbors_by_other_votes(settings):
    X, y = blobs()
    assert_same(build("knn", **settings).fit(X[::2], y[::2]), X, 3)


def test_a_knn_of_too_many_items_says_how_many_it_may_have(monkeypatch):
    X, y = blobs()
    monkeypatch.setattr(exported_heads, "NEIGHBORS_NUMBERS_MAX", 100)
    with pytest.raises(IceboxError, match="its train items, 120 of 6 features, more than 100 numbers"):
        network_of(build("knn").fit(X, y), task="classification", classes=3)


@pytest.mark.parametrize("name", [name for name in NAMES if "regression" in plugin_schema.head_tasks(name)])
def test_of_values(name):
    random = np.random.default_rng(0)
    X = random.normal(size=(200, 4)).astype(np.float32)
    head = build(name, task="regression").fit(X, 1000 + 50 * (X @ [1, 2, 3, 4]))
    if name in WITHOUT_EXPORT:
        with pytest.raises(IceboxError, match="has no export: "):
            network_of(head, task="regression", classes=0)
        return
    values, _ = answers(head, X, task="regression")
    np.testing.assert_allclose(values, head.predict(X), rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in NAMES if "multilabel" in plugin_schema.head_tasks(name)])
def test_of_sets_of_labels(name):
    random = np.random.default_rng(0)
    X = random.normal(size=(200, 6)).astype(np.float32)
    y = (X @ random.normal(size=(6, 4)) > 0.5).astype(np.int8)
    head = build(name, task="multilabel").fit(X, y)
    if name in WITHOUT_EXPORT:
        with pytest.raises(IceboxError, match="has no export: "):
            network_of(head, task="multilabel", classes=4)
        return
    for decided in (head, ThresholdHead(head, np.array([0.2, 0.4, 0.5, 0.6]))):
        scores, answer = answers(decided, X, task="multilabel", classes=4)
        expected = predictions.predict_sets(decided, X)
        np.testing.assert_allclose(scores, expected.scores, rtol=1e-5, atol=2e-6)
        np.testing.assert_array_equal(answer, expected.predicted)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("method", ["temperature", "isotonic"])
@pytest.mark.parametrize("name", ["logreg", "linear_svm", "knn", "centroid", "mlp"])
def test_calibrated(name, method, classes):
    X, y = blobs(classes)
    head = build(name).fit(X[::2], y[::2])
    val = LabelledSplit(np.arange(len(y) // 2).astype(str), X[1::2], y[1::2], np.arange(len(y) // 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # other items than those of the curve's points, where the last digit decides; and a steep curve enlarges it
        assert_same(calibrate(head, val, method), X[1::2] + 0.05, classes, atol=2e-5)


@pytest.mark.parametrize("name", ["logreg", "linear_svm", "random_forest"])
def test_with_offsets_that_decide(name):
    X, y = blobs()
    assert_same(OffsetHead(build(name).fit(X, y), np.array([0.7, 0.0, -0.7])), X, 3)


def test_of_several_heads_one_of_which_lacks_a_class():
    X, y = blobs()
    few = build("centroid").fit(X[y != 1], y[y != 1])
    assert_same(MeanEnsemble([build("logreg").fit(X, y), few], 3), X, 3)


def test_of_several_heads_with_decisions_of_their_own():
    X, y = blobs()
    members = [OffsetHead(build(name).fit(X, y), np.array([0.7, 0.0, -0.7])) for name in ("logreg", "centroid")]
    assert_same(OffsetHead(MeanEnsemble(members, 3), np.array([0.0, 0.5, -0.5])), X, 3)


def test_of_a_trained_network_of_sets_of_labels():
    X, _ = blobs()
    y = (X[:, :3] > 0).astype(np.int8)
    module = as_torch(build("logreg", task="multilabel").fit(X, y))
    head = ThresholdHead(ModuleSets(module).fit(X, y), np.array([0.3, 0.5, 0.6]))
    scores, answer = answers(head, X, task="multilabel", classes=3)
    expected = predictions.predict_sets(head, X)
    np.testing.assert_allclose(scores, expected.scores, rtol=1e-5, atol=2e-6)
    np.testing.assert_array_equal(answer, expected.predicted)


def test_of_several_heads_of_sets_of_labels():
    X, _ = blobs()
    y, thresholds = (X[:, :3] > 0).astype(np.int8), np.array([0.3, 0.5, 0.6])
    sets = [build(name, task="multilabel").fit(X, y) for name in ("logreg", "mlp", "knn")]
    for head in (
        MeanSets(sets, 3),
        ThresholdHead(MeanSets([ThresholdHead(sets[0], thresholds), sets[1]], 3), thresholds),
    ):
        scores, answer = answers(head, X, task="multilabel", classes=3)
        expected = predictions.predict_sets(head, X)
        np.testing.assert_allclose(scores, expected.scores, rtol=1e-5, atol=2e-6)
        np.testing.assert_array_equal(answer, expected.predicted)


def test_of_classes_that_train_lacked():
    X, y = blobs()
    for name in ("logreg", "linear_svm"):
        assert_same(build(name).fit(X[y != 1], y[y != 1]), X, 4)


@pytest.mark.parametrize("method", ["standardize", "coral"])
def test_aligned(method):
    X, y = blobs()
    target = 2 * X + 1
    weights = np.ones(len(X))
    head = AlignedHead(build("logreg").fit(X, y), method, measure(method, X, weights), measure(method, target, weights))
    assert_same(head, target, 3)
