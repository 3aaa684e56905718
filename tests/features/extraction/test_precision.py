import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from icebox.features.extraction.precision import to_storage_dtype

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
