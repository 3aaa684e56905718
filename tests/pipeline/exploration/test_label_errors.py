"""Suspected labels of features drawn here: three well-parted heaps of 60 items."""

import numpy as np
import pytest

from icebox.pipeline.exploration import feature_space, label_errors

LABELS = np.arange(180) % 3
ALONE = np.arange(180)


@pytest.fixture
def features() -> np.ndarray:
    random = np.random.default_rng(0)
    centres = random.normal(0, 4, (3, 20))
    return (centres[LABELS] + random.normal(size=(180, 20))).astype(np.float16)


def test_planted_label_errors_are_suspected_and_hardly_any_other(features: np.ndarray):
    planted = np.arange(0, 180, 20)
    given = LABELS.copy()
    given[planted] = (given[planted] + 1) % 3
    components = feature_space.principal_components(features, seed=0)
    found = label_errors.find_label_errors(
        label_errors.out_of_fold_probabilities(components, given, ALONE, seed=0), given, ["a", "b", "c"]
    )
    assert {suspect.item for suspect in found} <= set(planted.tolist())
    assert len(found) >= 7  # of 9
    for suspect in found:
        assert suspect.suggested == "abc"[LABELS[suspect.item]]
        assert suspect.confidence > suspect.label_probability


def test_a_head_that_knows_nothing_suspects_nothing():
    random = np.random.default_rng(0)
    probabilities = label_errors.out_of_fold_probabilities(random.normal(size=(180, 5)), LABELS, ALONE, seed=0)
    assert label_errors.find_label_errors(probabilities, LABELS, ["a", "b", "c"]) == []


def test_no_item_is_judged_by_its_own_group(features: np.ndarray):
    """Twins under two labels: with its twin in train, each would be told the other's."""
    twins = np.repeat(np.random.default_rng(0).normal(size=(60, 5)), 2, axis=0)
    labels = np.tile([0, 1], 60)
    apart = label_errors.out_of_fold_probabilities(twins, labels, np.arange(120) // 2, seed=0)
    assert abs(apart[:, 0] - 0.5).mean() < 0.2
