import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from icebox.features.extraction.precision import record_path, record_precision, resolve_auto_precision, to_storage_dtype
from tests.tiny import Doubling

VALUES = st.floats(-(2.0**120), 2.0**120, width=32)


@given(arrays(np.float32, (3, 4), elements=VALUES))
def test_what_is_stored_is_within_a_thousandth_of_each_rows_largest_value(values):
    stored = to_storage_dtype(values, "float16").astype(np.float64)
    assert (np.abs(stored - values).max(axis=1) <= 1e-3 * np.abs(values).max(axis=1)).all()
    np.testing.assert_array_equal(to_storage_dtype(values, "float32"), values)


@pytest.mark.parametrize(
    ("row", "kept"),
    [
        ([0.5, 1e-7], "float16"),
        ([0, 0], "float16"),
        ([65504, 1], "float16"),
        ([65600, 1], "float32"),
        ([2e-5, 0], "float32"),
    ],
)
def test_float16_is_used_where_it_keeps_what_a_row_says(row, kept):
    assert to_storage_dtype(np.array([[1, 1], row], np.float32), "float16").dtype == kept


def test_nothing_is_stored_as_asked():
    assert to_storage_dtype(np.zeros((0, 4), np.float32), "float16").dtype == np.float16
    assert to_storage_dtype(np.zeros((3, 0), np.float32), "float16").dtype == np.float16


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
    network, _ = resolve_auto_precision("bfloat16", loader(error=error), lambda: ["1", "2"], tmp_path)
    assert network.spec["precision"] == expected


def test_what_was_found_is_kept_whatever_a_later_trial_would_say(tmp_path):
    resolve_auto_precision("bfloat16", loader(), lambda: ["1"], tmp_path)
    network, why = resolve_auto_precision("bfloat16", loader(error=1.0), lambda: ["1"], tmp_path)
    assert (network.spec["precision"], why) == ("bfloat16", "recorded")


def test_the_plan_is_the_same_file_for_every_precision_of_a_backbone(tmp_path):
    exact, fast = Rounded("float32"), Rounded("bfloat16")
    assert record_path(exact.spec, tmp_path) == record_path(fast.spec | {"stored": "float16"}, tmp_path)
    record_precision(fast.spec, "bfloat16", tmp_path)
    assert json.loads(next(tmp_path.iterdir()).read_text()) == {"precision": "bfloat16"}


def test_items_that_cannot_be_read_are_left_to_extraction(tmp_path):
    network, _ = resolve_auto_precision("bfloat16", loader(), lambda: ["bad"], tmp_path)
    assert network.spec["precision"] == "float32"
