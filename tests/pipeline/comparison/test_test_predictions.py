"""Five items predicted by hand; classes a, b, c."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn import metrics

from icebox.pipeline.comparison import test_predictions
from icebox.pipeline.comparison.test_predictions import ClassificationPredictions
from icebox.pipeline.evaluation.metrics import METRICS
from icebox.pipeline.evaluation.sample import Sample

LABELS, PREDICTED = [0, 0, 0, 1, 2], [0, 1, 1, 1, 0]


def predictions(
    *, certainty: list[float] | None = None, predicted: list[int] | None = None
) -> ClassificationPredictions:
    return ClassificationPredictions(
        classes=["a", "b", "c"],
        item_ids=["v", "w", "x", "y", "z"],
        labels=np.array(LABELS),
        predicted=np.array(predicted or PREDICTED),
        certainty=np.array(certainty or [0.9, 0.5, 0.7, 0.8, 0.7]),
        certainty_kind="confidence",
    )


def test_confusion_has_actual_rows_and_predicted_columns():
    assert predictions().confusion().tolist() == [[1, 2, 0], [0, 1, 0], [1, 0, 0]]
    assert predictions().mistake_count == 3


def test_the_surest_mistakes_come_first_and_equals_in_the_items_order():
    assert predictions().mistakes(2) == [2, 4]
    assert predictions().mistakes(9) == [2, 4, 1]


def test_pairs_are_the_commonest_confusions_with_their_share_of_the_actual_class():
    assert test_predictions.confusion_pairs(predictions(), 9) == [
        {"actual": "a", "predicted": "b", "count": 2, "share": 2 / 3},
        {"actual": "c", "predicted": "a", "count": 1, "share": 1.0},
    ]
    assert len(test_predictions.confusion_pairs(predictions(), 1)) == 1


def test_a_lead_is_over_the_best_other_class_and_negative_where_the_head_went_against_its_scores():
    scores = np.array([[3.0, 1.0, 2.5], [1.0, 4.0, 0.0]])
    assert test_predictions.margins(scores, np.array([0, 0])).tolist() == [0.5, -3.0]


def test_a_class_is_scored_as_by_scikit_learn():
    precision, recall, f1, n = metrics.precision_recall_fscore_support(LABELS, PREDICTED, zero_division=np.nan)
    found = test_predictions.scores_by_class(predictions())
    assert [line["class"] for line in found] == ["a", "b", "c"]
    assert [line["n"] for line in found] == n.tolist()
    assert [line["precision"] for line in found] == [pytest.approx(precision[0]), pytest.approx(precision[1]), None]
    assert [line["recall"] for line in found] == pytest.approx(recall.tolist())
    assert [line["f1"] for line in found] == pytest.approx(f1.tolist())


def test_calibration_bins_hold_every_item_and_the_share_that_is_right():
    assert test_predictions.calibration_curve(predictions(certainty=[0.95, 1.0, 0.55, 0.51, 0.5])) == [
        {"n": 3, "confidence": 0.52, "right": 0.3333},
        {"n": 2, "confidence": 0.975, "right": 0.5},
    ]


def test_predictions_are_read_by_test_split_and_those_of_val_left_out(tmp_path: Path):
    table = {
        "item_id": ["v", "w", "x"],
        "split": ["val", "test-other", "test"],
        "label": ["a", "b", "a"],
        "prediction": ["a", "a", "b"],
        "score_a": [1.0, 0.5, 0.0],
        "score_b": [0.0, 0.0, 2.0],
    }
    pq.write_table(pa.table(table), tmp_path / "p.parquet")
    found = test_predictions.read(tmp_path / "p.parquet")
    assert list(found) == ["test-other", "test"]
    test = found["test"]
    assert isinstance(test, ClassificationPredictions)
    assert (test.item_ids, test.certainty_kind, test.certainty.tolist(), test.label_and_prediction(0)) == (
        ["x"],
        "margin",
        [2.0],
        ("a", "b"),
    )


def test_predictions_of_numbers_have_errors(tmp_path: Path):
    table = {"item_id": ["v", "w"], "split": ["test"] * 2, "label": [1.0, 2.0], "prediction": [1.5, 0.0]}
    pq.write_table(pa.table(table), tmp_path / "p.parquet")
    found = test_predictions.read(tmp_path / "p.parquet")["test"]
    assert found.mistakes(5) == [1, 0]
    assert found.sample.errors.tolist() == [0.5, -2.0]
    assert found.label_and_prediction(1) == ("2", "0")


@pytest.mark.parametrize(
    ("metric", "answer", "score"),
    [
        ("accuracy", "a", 0.4),
        ("f1_macro", "a", 4 / 7 / 3),
        ("balanced_accuracy", "a", 1 / 3),
        ("log_loss", "a", 1.0549),
    ],
)
def test_always_giving_one_answer_is_scored_by_the_measure_that_chooses(metric: str, answer: str, score: float):
    """The commonest class, of equals the first, with the classes' shares as probabilities."""
    sample = Sample(np.array([1, 0, 2, 1, 0]), np.zeros(5, int), 3)
    found = test_predictions.constant_baseline(sample, ["a", "b", "c"], METRICS[metric])
    assert found == ("a", pytest.approx(score, abs=1e-4))


@pytest.mark.parametrize(("metric", "answer", "score"), [("rmse", "3", 8**0.5), ("mae", "1", 2.0), ("r2", "3", 0.0)])
def test_a_regressions_constant_answer_is_the_best_one_by_its_measure(metric: str, answer: str, score: float):
    sample = Sample(np.array([1.0, 1.0, 7.0]), np.zeros(3))
    assert test_predictions.constant_baseline(sample, [], METRICS[metric]) == (answer, pytest.approx(score))


def test_a_probability_of_zero_costs_as_much_as_when_the_head_gave_it(tmp_path: Path):
    """Files hold float32, of which 0 is as far below 1 as its rounding, and less far than a float64."""
    columns = {"item_id": ["v", "w"], "split": ["test"] * 2, "label": ["a", "b"], "prediction": ["a", "a"]}
    columns |= {name: np.array(p, np.float32) for name, p in (("p_a", [1.0, 1.0]), ("p_b", [0.0, 0.0]))}
    pq.write_table(pa.table(columns), tmp_path / "h.parquet")
    sample = test_predictions.read(tmp_path / "h.parquet")["test"].sample
    assert METRICS["log_loss"].function(sample) == pytest.approx(metrics.log_loss([0, 1], [[1.0, 0.0], [1.0, 0.0]]))


def sets(labels: list[list[int]], scores: list[list[float]]) -> test_predictions.LabelSetPredictions:
    values = np.array(scores)
    ids = [f"i{i}" for i in range(len(labels))]
    names = [f"l{i}" for i in range(values.shape[1])]
    return test_predictions.LabelSetPredictions(names, ids, np.array(labels, bool), values > 0.5, values)


def test_mistakes_of_sets_are_the_items_with_most_wrong_labels_and_are_told_in_words():
    answers = sets([[1, 0], [1, 1], [0, 1]], [[0.9, 0.1], [0.4, 0.9], [0.9, 0.2]])
    assert answers.mistakes(5) == [2, 1]
    assert answers.severity.tolist() == [0, 1, 2]
    assert answers.label_and_prediction(1) == ("l0, l1", "l1")
    assert sets([[0, 0]], [[0.1, 0.2]]).label_and_prediction(0) == ("(none)", "(none)")
    assert answers.take(np.array([2])).item_ids == ["i2"]


def test_the_floor_of_sets_is_the_best_constant_set_or_the_labels_shares():
    answers = sets([[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0, 1]], [[0.9, 0.1, 0.2]] * 4)

    def floor(name: str):
        return test_predictions.constant_baseline(answers.sample, answers.classes, METRICS[name])

    assert floor("exact_match") == ("l0", 0.5)  # the commonest set, of two items
    assert floor("mean_ap") == ("the labels' shares", pytest.approx((3 / 4 + 1 / 4 + 1 / 4) / 3))
    assert floor("label_f1_micro") == ("l0", pytest.approx(2 * 3 / (4 + 5)))
    macro = floor("label_f1_macro")
    assert macro.prediction == "l0, l1, l2"
    assert macro.score == pytest.approx((6 / 7 + 2 / 5 + 2 / 5) / 3)
