import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from icebox.pipeline.evaluation import plots


def test_the_roc_curve_has_the_area_that_scikit_learn_finds():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 500)
    scores = random.random((500, 3)) + 0.5 * np.eye(3)[labels]
    rows = [line.split(",") for line in plots.roc_csv(labels, scores).splitlines()[1:]]
    x, y = np.array(rows, float).T
    expected = roc_auc_score(np.eye(3)[labels].ravel(), scores.ravel())
    assert np.trapezoid(y, x) == pytest.approx(expected, abs=2e-3)


def test_confusion_lists_each_item_by_class_name():
    assert plots.confusion_csv(np.array([0, 1]), np.array([1, 1]), ["cat", "dog, wet"]) == (
        'actual,predicted\ncat,"dog, wet"\n"dog, wet","dog, wet"\n'
    )
