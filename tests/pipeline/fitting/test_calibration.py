import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from icebox.pipeline.data.labelled import LabelledSplit
from icebox.pipeline.evaluation import metrics
from icebox.pipeline.evaluation.predictions import predict
from icebox.pipeline.evaluation.sample import Sample
from icebox.pipeline.fitting.calibration import calibrated


@pytest.fixture(scope="module")
def noisy():
    """Train and val of three classes that overlap; a head overfitted on the first is far too sure."""
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 900)
    X = (np.eye(3)[y] + random.normal(scale=1.0, size=(900, 3))).astype(np.float32)
    X = np.hstack([X, random.normal(size=(900, 60)).astype(np.float32)])
    ids = np.arange(900).astype(str)
    return [
        LabelledSplit(ids[rows], X[rows], y[rows], ids[rows])
        for rows in (slice(0, 150), slice(150, 500), slice(500, 900))
    ]


def test_a_temperature_is_the_one_that_minimises_vals_log_loss_and_changes_no_prediction(noisy):
    train, val, test = noisy
    head = LogisticRegression(C=100, max_iter=1000).fit(train.features, train.labels)
    cooled = calibrated(head, val, "temperature")
    logits = head.decision_function(val.features)
    best = minimize_scalar(
        lambda t: -log_softmax(logits / t, axis=1)[np.arange(len(val)), val.labels].mean(),
        bounds=(0.1, 100),
        method="bounded",
    ).x
    expected = np.exp(log_softmax(head.decision_function(test.features) / best, axis=1))
    np.testing.assert_allclose(cooled.predict_proba(test.features), expected, atol=2e-3)
    np.testing.assert_array_equal(cooled.predict(test.features), head.predict(test.features))


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_confidence_comes_close_to_the_share_of_right_answers(noisy, method):
    train, val, test = noisy
    head = LogisticRegression(C=100, max_iter=1000).fit(train.features, train.labels)
    before, after = (predict(h, test.features, 3).scores for h in (head, calibrated(head, val, method)))
    errors = [metrics.scores(Sample(test.labels, p.argmax(axis=1), 3, p))["ece"] for p in (before, after)]
    assert errors[1] < errors[0] / 2


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_a_head_without_probabilities_gets_them(noisy, method):
    train, val, test = noisy
    head = LinearSVC(dual=False).fit(train.features, train.labels)
    said = predict(calibrated(head, val, method), test.features, 3)
    assert said.has_probabilities
    assert metrics.scores(Sample(test.labels, said.predicted, 3, said.scores))["ece"] < 0.15
