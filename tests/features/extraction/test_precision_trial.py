import json

import numpy as np
import pytest

from icebox.features.extraction import precision_trial
from tests.tiny import Doubling


class Rounded(Doubling):
    """Doubling in another precision: every second value off by `error`."""

    def __init__(self, precision: str, *, error: float = 0.0) -> None:
        super().__init__()
        self.precision, self.error = precision, error

    @property
    def spec(self):
        return super().spec | {"precision": self.precision}

    def encode(self, prepared):
        return {
            name: values + np.float32(self.error) * (np.arange(values.size).reshape(values.shape) % 2)
            for name, values in super().encode(prepared).items()
        }


def loader(*, error: float = 0.0):
    return lambda precision: Rounded(precision, error=0.0 if precision == "float32" else error)


@pytest.mark.parametrize(("error", "expected"), [(0.001, "bfloat16"), (1.0, "float32")], ids=["close", "not close"])
def test_the_fast_format_is_taken_only_where_it_agrees(tmp_path, error, expected):
    network, _ = precision_trial.choose("bfloat16", loader(error=error), lambda: ["1", "2"], tmp_path)
    assert network.spec["precision"] == expected


def test_what_was_found_is_kept_whatever_a_later_trial_would_say(tmp_path):
    precision_trial.choose("bfloat16", loader(), lambda: ["1"], tmp_path)
    network, why = precision_trial.choose("bfloat16", loader(error=1.0), lambda: ["1"], tmp_path)
    assert (network.spec["precision"], why) == ("bfloat16", "recorded")


def test_the_plan_is_the_same_file_for_every_precision_of_a_backbone(tmp_path):
    exact, fast = Rounded("float32"), Rounded("bfloat16")
    assert precision_trial.file_of(exact.spec, tmp_path) == precision_trial.file_of(
        fast.spec | {"stored": "float16"}, tmp_path
    )
    precision_trial.record(fast.spec, "bfloat16", tmp_path)
    assert json.loads(next(tmp_path.iterdir()).read_text()) == {"precision": "bfloat16"}


def test_items_that_cannot_be_read_are_left_to_extraction(tmp_path):
    network, _ = precision_trial.choose("bfloat16", loader(), lambda: ["bad"], tmp_path)
    assert network.spec["precision"] == "float32"


def test_cosines_of_zeros_and_of_what_is_not_finite():
    zero, one, bad = np.zeros((1, 2)), np.ones((1, 2)), np.full((1, 2), np.nan)
    assert precision_trial.cosines(zero, zero).tolist() == [1]
    assert precision_trial.cosines(one, 2 * one) == pytest.approx([1])
    assert precision_trial.cosines(one, bad).tolist() == [0]
