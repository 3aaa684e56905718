import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from icebox.pipeline.evaluation import metrics


def test_scores_are_those_counted_by_hand():
    # class 0: precision 1/2, recall 1 → F1 2/3; class 1: precision 1, recall 1/2 → F1 2/3; class 2 never → 0
    scores = metrics.score(np.array([0, 1, 1]), np.array([0, 0, 1]), None, 3)
    # balanced: recall 1 of class 0, 1/2 of class 1; class 2 has no items
    assert scores == {
        "n": 3,
        "accuracy": pytest.approx(2 / 3, abs=1e-6),
        "macro_f1": pytest.approx(4 / 9, abs=1e-6),
        "balanced_accuracy": 0.75,
    }


def test_the_calibration_error_is_the_gap_between_confidence_and_share_of_right_answers():
    # two bins: four answers 90% sure, half right; four 30% sure, one right: (0.4 + 0.05) / 2
    sure = np.array([0.9] * 4 + [0.3] * 4)
    right = np.array([1, 1, 0, 0, 1, 0, 0, 0], bool)
    assert metrics.calibration_error(sure, right) == pytest.approx(0.225)
    assert metrics.calibration_error(np.ones(3), np.ones(3, bool)) == 0


def test_log_loss_is_the_mean_of_minus_log_p():
    probabilities = np.array([[0.5, 0.5], [0.1, 0.9]])
    scores = metrics.score(np.array([0, 1]), np.array([0, 1]), probabilities, 2)
    assert scores["log_loss"] == pytest.approx(-(np.log(0.5) + np.log(0.9)) / 2, abs=1e-6)


def test_the_roc_curve_has_the_area_that_scikit_learn_finds():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 500)
    scores = random.random((500, 3)) + 0.5 * np.eye(3)[labels]
    rows = [line.split(",") for line in metrics.roc_csv(labels, scores).splitlines()[1:]]
    x, y = np.array(rows, float).T
    expected = roc_auc_score(np.eye(3)[labels].ravel(), scores.ravel())
    assert np.trapezoid(y, x) == pytest.approx(expected, abs=2e-3)


def test_confusion_lists_each_item_by_class_name():
    assert metrics.confusion_csv(np.array([0, 1]), np.array([1, 1]), ["cat", "dog, wet"]) == (
        'actual,predicted\ncat,"dog, wet"\n"dog, wet","dog, wet"\n'
    )
