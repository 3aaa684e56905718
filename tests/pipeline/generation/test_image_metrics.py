import numpy as np
import pytest
from scipy import linalg

from icebox.pipeline.generation import image_metrics
from icebox.pipeline.generation.image_metrics import frechet_distance


def test_the_frechet_distance_is_the_formula_with_a_general_matrix_root():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(300, 5)) @ random.normal(size=(5, 5)), random.normal(1, 2, size=(200, 5))
    c1, c2 = np.cov(a, rowvar=False, bias=True), np.cov(b, rowvar=False, bias=True)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(c1 + c2 - 2 * linalg.sqrtm(c1 @ c2).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-8)


def test_the_frechet_distance_is_0_to_itself_the_square_of_a_shift_and_of_a_difference_of_spreads():
    a = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-8)
    assert frechet_distance(a, a + np.float32(2)) == pytest.approx(3 * 4, rel=1e-5)
    one = np.array([[-1.0], [1.0]])
    assert frechet_distance(one, 3 * one) == pytest.approx((3 - 1) ** 2)


def test_features_that_never_change_do_no_harm():
    a = np.zeros((10, 4))
    a[:, 0] = np.arange(10)
    assert frechet_distance(a, a[::-1]) == pytest.approx(0, abs=1e-8)


def test_a_copy_is_found_at_distance_0_and_others_in_grey_levels(monkeypatch):
    monkeypatch.setattr(image_metrics, "REFERENCES_AT_ONCE", 3)
    known = [np.full((2, 2), grey, np.uint8) for grey in (0, 50, 100, 150, 200, 255, 7)]
    positions, distances = image_metrics.nearest_images([known[4], np.full((2, 2), 53, np.uint8)], known)
    assert positions.tolist() == [4, 1]
    assert distances == pytest.approx([0, 3])
