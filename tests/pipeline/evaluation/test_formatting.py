import pytest

from icebox.pipeline.evaluation import formatting


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0.0000"),
        (0.98765, "0.9877"),
        (-0.5, "-0.5000"),
        (1234.5678, "1234.5678"),
        (0.0123456, "0.01235"),
        (0.00123456, "0.001235"),
        (1.23456e-8, "1.235e-08"),
        (1.23456789e37, "1.2346e+37"),
    ],
)
def test_a_small_score_keeps_its_digits(value: float | None, text: str):
    assert formatting.number(value) == text


def test_a_difference_has_the_digits_of_the_scores_that_differ():
    assert formatting.signed(0.00123, like=0.9) == "+0.0012"
    assert formatting.signed(-1.2e-10, like=3e-8) == "-1.200e-10"
    assert formatting.difference_interval(-0.012, 0.0031, like=0.9) == "-0.012 … +0.003"
    assert formatting.interval(0.0, 2.5e-8) == "0.00e+00 … 2.50e-08"


def test_the_measure_that_chose_stands_first():
    scores = {"n": 5, "accuracy": 0.9, "f1_macro": 0.5}
    assert formatting.scores_line(scores, "f1_macro") == "f1_macro 0.5000, accuracy 0.9000"
    assert formatting.scores_line(scores, "log_loss") == "accuracy 0.9000, f1_macro 0.5000"
    assert formatting.scores_line({"n": 5, "rmse": 2.5e-8}, "rmse") == "rmse 2.500e-08"
