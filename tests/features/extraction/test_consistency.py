import math

import numpy as np
import pytest

from icebox.features.extraction.consistency import relative_distance, row_cosines


def test_a_distance_is_a_share_of_the_references_norm():
    reference = np.array([3.0, 4.0])
    assert relative_distance(np.array([3.0, 4.5]), reference, zero_norm=1.0) == pytest.approx(0.1)
    assert relative_distance(np.zeros(3), reference, zero_norm=1.0) == math.inf
    assert relative_distance(np.array([0.0, 0.5]), np.zeros(2), zero_norm=1.0) == 0.5


def test_cosines_of_zeros_and_of_what_is_not_finite():
    zero, one, bad = np.zeros((1, 2)), np.ones((1, 2)), np.full((1, 2), np.nan)
    assert row_cosines(zero, zero).tolist() == [1]
    assert row_cosines(one, 2 * one) == pytest.approx([1])
    assert row_cosines(one, bad).tolist() == [0]
