import numpy as np
import pytest

from icebox.features.errors import IceboxError
from icebox.pipeline.data.class_weights import sample_weighter

LABELS = np.array([0, 0, 0, 1])


def test_none_weighs_nothing():
    assert sample_weighter("none", ["a", "b"], "")(LABELS) is None


def test_balanced_gives_each_class_the_same_weight_in_all():
    weights = sample_weighter("balanced", ["a", "b"], "")(LABELS)
    np.testing.assert_allclose(weights, [2 / 3, 2 / 3, 2 / 3, 2])


def test_given_weights_go_by_name_and_the_others_count_once():
    assert sample_weighter({"b": 5.0}, ["a", "b"], "")(LABELS).tolist() == [1, 1, 1, 5]
    assert sample_weighter({1: 5.0}, ["0", "1"], "")(LABELS).tolist() == [1, 1, 1, 5]


def test_an_unknown_class_gets_a_suggestion():
    with pytest.raises(IceboxError, match=r"stores\.x\.fit: no class named 'pneumona'; did you mean 'pneumonia'"):
        sample_weighter({"pneumona": 2.0}, ["normal", "pneumonia"], "stores.x.fit")
