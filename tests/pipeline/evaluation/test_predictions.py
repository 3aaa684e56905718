import numpy as np
import pytest

from icebox.pipeline.data.labelled import LabelledData
from icebox.pipeline.evaluation import predictions
from tests.pipeline.labels import Always, Mean, make_split


class Margin(Always):
    def decision_function(self, X):
        return np.array([1.5, -2.0])


def test_margins_of_two_classes_become_two_columns():
    head = Margin().fit(np.zeros((2, 1)), np.array([0, 1]))
    assert predictions.predict(head, np.zeros((2, 2)), 2).scores.tolist() == [[-1.5, 1.5], [2.0, -2.0]]


def test_a_class_that_a_fold_lacked_is_never_the_answer():
    class Sure(Always):
        def predict_proba(self, X):
            return np.tile([0.25, 0.75], (len(X), 1))

    head = Sure(answer=2).fit(np.zeros((2, 1)), np.array([0, 2]))
    assert predictions.predict(head, np.zeros((1, 1)), 3).scores.tolist() == [[0.25, 0, 0.75]]
    head = Margin(answer=2).fit(np.zeros((2, 1)), np.array([0, 2]))
    assert predictions.predict(head, np.zeros((2, 1)), 3).scores.tolist() == [
        [-1.5, -np.inf, 1.5],
        [2.0, -np.inf, -2.0],
    ]


def test_a_regression_is_scored_by_its_errors():
    data = LabelledData([], {"train": make_split(1, 3)}, "regression")
    scored = predictions.score_head(Mean().fit(np.zeros((2, 1)), [1, 3]), make_split(1, 5), data)
    assert scored.scores == {"n": 2, "rmse": pytest.approx(5**0.5), "mae": 2.0, "r2": -0.25}
