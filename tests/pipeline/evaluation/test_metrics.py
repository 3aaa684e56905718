import numpy as np
import pytest
from sklearn import metrics as oracle

from icebox.pipeline.evaluation import metrics
from icebox.pipeline.evaluation.metrics import METRICS
from icebox.pipeline.evaluation.sample import Sample

SINGLE = ("classification", "regression")  # sets of labels: test_multilabel.py
WITH_INTERVAL = [metric for metric in METRICS.values() if metric.interval and metric.task in SINGLE]


def test_scores_are_those_counted_by_hand():
    # class 0: precision 1/2, recall 1 → F1 2/3; class 1: precision 1, recall 1/2 → F1 2/3; class 2 never: not counted
    scores = metrics.scores(Sample(np.array([0, 1, 1]), np.array([0, 0, 1]), 3))
    # balanced: recall 1 of class 0, 1/2 of class 1; class 2 has no items
    counted = {"n": 3, "accuracy": 2 / 3, "f1_macro": 2 / 3, "balanced_accuracy": 0.75}
    assert {name: scores[name] for name in counted} == pytest.approx(counted, abs=1e-6)
    assert "log_loss" not in scores


@pytest.mark.parametrize("classes", [2, 7, 60])
def test_scores_are_those_of_scikit_learn_to_the_last_digit(classes: int):
    random = np.random.default_rng(0)
    for n in (1, 10, 128, 1000):
        labels = random.integers(0, classes, n)
        predicted = np.where(random.random(n) < 0.7, labels, random.integers(0, classes, n))
        present = np.unique(labels)
        expected = {
            "n": n,
            "accuracy": oracle.accuracy_score(labels, predicted),
            "f1_macro": oracle.f1_score(labels, predicted, average="macro", zero_division=0),
            # balanced_accuracy_score is the same and warns where a class without items is predicted
            "balanced_accuracy": oracle.recall_score(
                labels, predicted, labels=present, average="macro", zero_division=0
            ),
        }
        found = metrics.scores(Sample(labels, predicted, classes))
        assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-14)


def test_errors_are_those_of_scikit_learn_to_the_last_digit():
    random = np.random.default_rng(0)
    labels, predicted = random.normal(100, 50, (2, 1000))
    expected = {
        "n": 1000,
        "rmse": oracle.root_mean_squared_error(labels, predicted),
        "mae": oracle.mean_absolute_error(labels, predicted),
        "r2": oracle.r2_score(labels, predicted),
    }
    found = metrics.scores(Sample(labels, predicted))
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-14)
    assert "r2" not in metrics.scores(Sample(labels[:1], predicted[:1]))


@pytest.mark.parametrize("metric", WITH_INTERVAL, ids=lambda each: each.name)
@pytest.mark.parametrize("classes", [3, 60])
def test_under_weights_each_draw_has_the_score_of_its_items_repeated(metric: metrics.Metric, classes: int):
    random = np.random.default_rng(0)
    labels, predicted = random.integers(0, 3, (2, 40))
    weights = random.integers(0, 4, (5, 40)).astype(np.float32)
    known = random.random(40)  # probabilities of the true classes
    sample = Sample(labels, predicted, classes if metric.task == "classification" else 0, label_probabilities=known)
    drawn = metric.function(sample.reweighted(weights))
    assert drawn.shape == (5,)
    for times, value in zip(weights.astype(int), drawn, strict=True):
        again = Sample(
            labels.repeat(times), predicted.repeat(times), sample.classes, label_probabilities=known.repeat(times)
        )
        assert value == pytest.approx(float(metric.function(again)), rel=1e-5)


def test_every_metric_can_be_what_the_table_says_of_it():
    assert [metric.name for metric in METRICS.values() if not metric.chooses] == ["ece"]
    for task in ("classification", "regression"):
        assert metrics.primary(task).interval
        assert metrics.primary(task).chooses
        assert not metrics.primary(task).needs_probabilities


def test_what_chooses_is_largest_where_it_is_best_and_falls_back_without_probabilities():
    assert metrics.utility({"accuracy": 0.5, "log_loss": 2.0}, "log_loss") == -2
    assert metrics.utility({"accuracy": 0.5}, "log_loss") == 0.5
    assert metrics.choosing_metric({"accuracy": 0.5}, "log_loss") == "accuracy"


def test_what_chooses_is_not_rounded_and_equal_sums_are_equal():
    assert metrics.utility({"rmse": 2.0000001e-8}, "rmse") < metrics.utility({"rmse": 2e-8}, "rmse")
    one, other = (float(np.mean(folds)) for folds in ([0.1, 0.2, 0.3], [0.3, 0.2, 0.1]))
    assert one != other
    assert metrics.utility({"accuracy": one}, "accuracy") == metrics.utility({"accuracy": other}, "accuracy")


@pytest.mark.parametrize("size", [1.0, 1e-3, 1e-8, 1e-30, 1e8])
def test_scores_of_any_size_keep_six_digits_in_files(size: float):
    kept = metrics.rounded(np.pi * size)
    assert kept == pytest.approx(np.pi * size, rel=2e-6)
    assert metrics.rounded(0.98765432) == 0.987654
    assert metrics.rounded(0.0) == 0


@pytest.mark.parametrize("classes", [(), (0, 1), (2,)])
def test_macro_f1_is_scikit_learns_whichever_classes_labels_and_predictions_lack(classes: tuple[int, ...]):
    random = np.random.default_rng(0)
    labels, predicted = random.choice([3, 4, *classes], 30), random.choice([3, 4, 5], 30)
    expected = oracle.f1_score(labels, predicted, average="macro", zero_division=0)
    assert metrics.scores(Sample(labels, predicted, 10))["f1_macro"] == pytest.approx(expected)


def test_r2_of_equal_labels_is_scikit_learns_and_of_tiny_ones_that_of_their_multiples():
    random = np.random.default_rng(0)
    labels, noise = random.normal(3, 1, 50), random.normal(0, 0.5, 50)
    for predicted in (np.full(4, 2.0), np.full(4, 2.5)):
        sample = Sample(np.full(4, 2.0), predicted)
        assert metrics.scores(sample)["r2"] == oracle.r2_score(sample.labels, predicted)
    one = metrics.scores(Sample(labels, labels + noise))["r2"]
    for size in (1e-8, 1e8):
        assert metrics.scores(Sample(labels * size, (labels + noise) * size))["r2"] == pytest.approx(one)


@pytest.mark.parametrize("probabilities", [None, np.array([[0.5, 0.5], [np.nan, np.nan]])])
def test_predictions_that_are_no_numbers_have_no_scores(probabilities: np.ndarray | None):
    predicted = np.array([1.0, np.nan]) if probabilities is None else np.zeros(2, int)
    classes = 0 if probabilities is None else 2
    with pytest.raises(ValueError, match="NaN"):
        metrics.scores(Sample(np.zeros(2, int), predicted, classes, probabilities))


def test_the_calibration_error_is_the_gap_between_confidence_and_share_of_right_answers():
    # two bins: four answers 90% sure, half right; four 30% sure, one right: (0.4 + 0.05) / 2
    confidence = np.array([0.9] * 4 + [0.3] * 4)
    right = np.array([1, 1, 0, 0, 1, 0, 0, 0], bool)
    probabilities, labels = np.column_stack([confidence, np.zeros(8)]), (~right).astype(int)
    assert metrics.calibration_error(Sample(labels, np.zeros(8, int), 2, probabilities)) == pytest.approx(0.225)
    assert metrics.calibration_error(Sample(np.zeros(3, int), np.zeros(3, int), 2, np.ones((3, 2)))) == 0


def test_log_loss_is_the_mean_of_minus_log_p():
    probabilities = np.array([[0.5, 0.5], [0.1, 0.9]])
    scores = metrics.scores(Sample(np.array([0, 1]), np.array([0, 1]), 2, probabilities))
    assert scores["log_loss"] == pytest.approx(-(np.log(0.5) + np.log(0.9)) / 2, abs=1e-6)
