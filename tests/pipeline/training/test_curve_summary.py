import pytest

from icebox.pipeline.training.curve_summary import course


def test_of_classes_the_best_the_first_that_is_near_and_the_gap():
    curve = [
        {"epoch": 0, "loss": float("nan"), "accuracy": 0.5, "log_loss": 0.9},
        {"epoch": 1, "loss": 0.6, "accuracy": 0.77, "log_loss": 0.7},
        {"epoch": 2, "loss": 0.3, "accuracy": 0.8, "log_loss": 0.5},
        {"epoch": 3, "loss": 0.1, "accuracy": 0.8, "log_loss": 0.6},
    ]
    assert course(curve, "accuracy") == {"epochs": 3, "best_epoch": 2, "near_best_epoch": 1, "val_minus_train": 0.2}
    assert course(curve, "log_loss")["near_best_epoch"] == 2


def test_of_numbers_smaller_errors_are_better():
    curve = [{"epoch": i, "loss": 0.1, "rmse": rmse} for i, rmse in enumerate([1.0, 0.52, 0.5, 0.6])]
    found = course(curve, "rmse")
    assert (found["best_epoch"], found["near_best_epoch"]) == (2, 1)
    assert found["val_minus_train"] == pytest.approx(0.25 - 0.1)


def test_a_training_that_never_got_better_has_no_gap():
    curve = [
        {"epoch": 0, "loss": float("nan"), "accuracy": 0.9, "log_loss": 1.0},
        {"epoch": 1, "loss": 1.0, "accuracy": 0.8, "log_loss": 1.0},
    ]
    assert course(curve, "accuracy") == {"epochs": 1, "best_epoch": 0, "near_best_epoch": 0}
