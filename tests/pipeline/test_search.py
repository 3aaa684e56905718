import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from pipeline import search
from pipeline.labelled import Labelled, Part


class Always(ClassifierMixin, BaseEstimator):
    """Says `answer`, whatever it is asked."""

    def __init__(self, answer: int = 0) -> None:
        self.answer = answer

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.answer)


def part(*labels: int) -> Part:
    return Part(
        np.array([f"i{n}" for n in range(len(labels))]), np.zeros((len(labels), 2), np.float32), np.array(labels)
    )


DATA = Labelled(["a", "b"], train=part(0, 1), val=part(1, 1, 0), test=part(0, 0, 0))


def test_a_list_is_a_grid_and_the_rest_stays():
    assert search.grid({"C": [1, 2], "kind": "x", "depth": [3, 4]}) == [
        {"C": 1, "kind": "x", "depth": 3},
        {"C": 1, "kind": "x", "depth": 4},
        {"C": 2, "kind": "x", "depth": 3},
        {"C": 2, "kind": "x", "depth": 4},
    ]


def test_val_chooses_even_where_test_would_choose_otherwise():
    found = search.search(Always, [{"answer": 0}, {"answer": 1}], DATA, choose="accuracy")
    assert found.chosen == {"answer": 1}
    assert [round(line["accuracy"], 3) for line in found.table] == [0.333, 0.667]


def test_among_equals_the_first_of_the_grid_wins():
    tied = Labelled(["a", "b"], train=part(0, 1), val=part(0, 1), test=part(0, 1))
    assert search.search(Always, [{"answer": 1}, {"answer": 0}], tied, choose="accuracy").chosen == {"answer": 1}


def test_a_head_without_probabilities_is_chosen_by_accuracy_where_log_loss_was_asked_for():
    assert search.search(Always, [{"answer": 0}, {"answer": 1}], DATA, choose="log_loss").chosen == {"answer": 1}


def test_the_smallest_log_loss_wins():
    class Sure(Always):
        def predict(self, X):
            return np.zeros(len(X), int)

        def predict_proba(self, X):
            return np.tile([1 - self.answer, self.answer], (len(X), 1))

    found = search.search(Sure, [{"answer": 0.1}, {"answer": 0.6}, {"answer": 0.99}], DATA, choose="log_loss")
    assert found.chosen == {"answer": 0.6}


def test_margins_of_two_classes_become_two_columns():
    class Margin(Always):
        def decision_function(self, X):
            return np.array([1.5, -2.0])

    assert search.scores(Margin(), np.zeros((2, 2))).tolist() == [[-1.5, 1.5], [2.0, -2.0]]
