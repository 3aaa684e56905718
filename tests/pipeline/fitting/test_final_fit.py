import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from icebox.features.errors import IceboxError
from icebox.pipeline.config.fit import Fit
from icebox.pipeline.data.class_weights import sample_weighter
from icebox.pipeline.data.labelled import LabelledData, LabelledSplit
from icebox.pipeline.evaluation import metrics
from icebox.pipeline.evaluation.predictions import predict
from icebox.pipeline.evaluation.sample import Sample
from icebox.pipeline.fitting import final_fit, learning_curve
from icebox.pipeline.fitting.final_fit import calibrate
from icebox.pipeline.fitting.head_factory import HeadFactory
from tests.pipeline.labels import Always, EarlyStopped, make_split

DATA = LabelledData(
    ["a", "b"],
    {
        "train": make_split(0, 0, 1, 1),
        "val": make_split(1, 1, 0),
        "test": make_split(0, 1),
        "test-far": make_split(1, 1),
    },
)
CANDIDATES = [{"answer": 0}, {"answer": 1}]


def fit_heads(data=DATA, build=Always, keywords=(), weights="none", **fit):
    weighter = sample_weighter(weights, data.classes, "")
    return final_fit.fit_head(
        HeadFactory(build, "classification", frozenset(keywords)),
        CANDIDATES,
        data,
        Fit(**fit),
        sample_weighter=weighter,
    )


def test_the_winner_on_val_is_scored_on_every_test_set():
    (only,) = fit_heads().seeds
    assert only.fitted.head.answer == 1
    assert {name: scored.scores["accuracy"] for name, scored in only.tests.items()} == {"test": 0.5, "test-far": 1.0}
    assert only.val["accuracy"] == pytest.approx(2 / 3, abs=1e-6)


def test_a_refit_on_train_and_val_keeps_vals_score_of_the_choice():
    result = fit_heads(refit="train+val")
    assert result.seeds[0].fitted.head.n_ == 7
    assert result.seeds[0].val is None
    assert result.val.scores["accuracy"] == result.search.scores["accuracy"] == pytest.approx(2 / 3, abs=1e-6)


def test_a_head_that_stopped_early_is_refitted_for_as_long_without_val():
    head = fit_heads(build=EarlyStopped, refit="train+val").seeds[0].fitted.head
    assert (head.epochs, head.stopped_) == (3, 3)


def test_without_val_the_winner_is_fitted_on_all_of_train():
    data = LabelledData(["a", "b"], {"train": make_split(0, 1, 1, 0, 1), "test": make_split(0)})
    head = fit_heads(data, EarlyStopped).seeds[0].fitted.head
    assert (head.answer, head.n_) == (1, 5)
    assert head.stopped_ == 2  # items judged in a fold, on average 2.5


def test_a_head_with_randomness_is_fitted_under_each_seed_and_the_first_is_kept():
    result = fit_heads(keywords={"seed"}, seeds=3, seed=7)
    assert [each.fitted.head.seed for each in result.seeds] == [7, 8, 9]
    assert result.seeds[0].fitted.head is result.search.trials[0].head
    assert len(fit_heads(seeds=3).seeds) == 1


def test_weights_reach_the_head():
    assert fit_heads(weights={"b": 3.0}).seeds[0].fitted.head.weights_.tolist() == [1, 1, 3, 3]


def test_calibration_without_val_is_refused():
    data = LabelledData(["a", "b"], {"train": make_split(0, 1, 1, 0), "test": make_split(0)})
    with pytest.raises(IceboxError, match="calibrate: temperature: expected items in val"):
        fit_heads(data, calibrate="temperature")


def test_the_few_label_curve_has_several_draws_a_point_and_ends_in_the_main_result():
    data = LabelledData(
        ["a", "b"], {"train": make_split(*[0, 1] * 20), "val": make_split(*[0, 1] * 10), "test": make_split(0, 1, 1)}
    )
    fit, factory = Fit(seeds=3), HeadFactory(Always)
    points = learning_curve.sorted_points(["all", 5, 1])
    main = final_fit.fit_head(factory, CANDIDATES, data, fit, sample_weighter=lambda labels: None)
    curve = learning_curve.compute(
        factory, CANDIDATES, data, points, fit, sample_weighter=lambda labels: None, main=main
    )
    assert [(line["labels_per_class"], line["train_n"], len(line["draws"])) for line in curve] == [
        (1, 2, 3),
        (5, 10, 3),
        ("all", 40, 1),
    ]
    assert curve[1]["draws"][0]["val"]["n"] == 20  # by folds of train and val
    assert curve[2]["draws"][0]["test"] == main.seeds[0].tests["test"].scores


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
    cooled = calibrate(head, val, "temperature")
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
    before, after = (predict(h, test.features, 3).scores for h in (head, calibrate(head, val, method)))
    errors = [metrics.scores(Sample(test.labels, p.argmax(axis=1), 3, p))["ece"] for p in (before, after)]
    assert errors[1] < errors[0] / 2


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_a_head_without_probabilities_gets_them(noisy, method):
    train, val, test = noisy
    head = LinearSVC(dual=False).fit(train.features, train.labels)
    calibrated = predict(calibrate(head, val, method), test.features, 3)
    assert calibrated.has_probabilities
    assert metrics.scores(Sample(test.labels, calibrated.predicted, 3, calibrated.scores))["ece"] < 0.15


@pytest.mark.parametrize("absent", [[2], [0, 2]])
def test_a_temperature_is_learnt_over_the_heads_classes_where_val_lacks_some(noisy, absent):
    train, val, test = noisy
    part = val.take(np.flatnonzero(~np.isin(val.labels, absent)))
    head = LogisticRegression(C=100, max_iter=1000).fit(train.features, train.labels)
    cooled = calibrate(head, part, "temperature")
    best = minimize_scalar(
        lambda t: (
            -log_softmax(head.decision_function(part.features) / t, axis=1)[np.arange(len(part)), part.labels].mean()
        ),
        bounds=(0.1, 100),
        method="bounded",
    ).x
    expected = np.exp(log_softmax(head.decision_function(test.features) / best, axis=1))
    np.testing.assert_allclose(cooled.predict_proba(test.features), expected, atol=2e-3)
    np.testing.assert_array_equal(cooled.predict(test.features), head.predict(test.features))


def test_isotonic_curves_need_every_class_in_val(noisy):
    train, val, _ = noisy
    head = LogisticRegression(C=100, max_iter=1000).fit(train.features, train.labels)
    with pytest.raises(IceboxError, match="found none of 1 of 3 classes"):
        calibrate(head, val.take(np.flatnonzero(val.labels != 1)), "isotonic")
