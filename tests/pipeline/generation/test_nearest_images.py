import numpy as np
import pytest

from icebox.pipeline.generation import nearest_images


def test_a_copy_is_found_at_distance_0_and_others_in_grey_levels(monkeypatch):
    monkeypatch.setattr(nearest_images, "AT_ONCE", 3)
    known = [np.full((2, 2), grey, np.uint8) for grey in (0, 50, 100, 150, 200, 255, 7)]
    place, far = nearest_images.nearest([known[4], np.full((2, 2), 53, np.uint8)], known)
    assert place.tolist() == [4, 1]
    assert far == pytest.approx([0, 3])
