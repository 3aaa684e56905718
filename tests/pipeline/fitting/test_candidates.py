import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import HalvingGridSearchCV

from icebox.pipeline.fitting import candidates
from tests.pipeline.labels import make_split

GRID = {"C": [1, 2, 3], "kind": "x", "depth": [3, 4]}


def test_a_list_is_a_grid_and_the_rest_stays():
    assert candidates.grid({"C": [1, 2], "kind": "x", "depth": [3, 4]}) == [
        {"C": 1, "kind": "x", "depth": 3},
        {"C": 1, "kind": "x", "depth": 4},
        {"C": 2, "kind": "x", "depth": 3},
        {"C": 2, "kind": "x", "depth": 4},
    ]


def test_random_ones_are_distinct_settings_of_the_grid_drawn_by_the_seed():
    samples = [candidates.generate(GRID, {"random": 4}, seed=seed) for seed in (0, 0, 1)]
    assert samples[0] == samples[1] != samples[2]
    every = candidates.grid(GRID)
    positions = [every.index(candidate) for candidate in samples[0]]
    assert positions == sorted(set(positions))


def test_more_than_there_are_is_all_of_them():
    assert candidates.generate(GRID, {"random": 7}, seed=0) == candidates.grid(GRID)


@pytest.mark.parametrize("count", [2, 3, 8, 9, 10, 30])
def test_rounds_are_scikit_learns(count):
    X, y = np.zeros((8100, 1)), np.arange(8100) % 2
    grid = {"random_state": list(range(count))}
    theirs = HalvingGridSearchCV(DummyClassifier(strategy="prior"), grid, cv=2, refit=False).fit(X, y)
    ours = list(candidates.halving_rounds(count))
    assert [n for n, _ in ours] == theirs.n_candidates_
    assert [round(share * 8100) for _, share in ours] == theirs.n_resources_


def test_a_share_keeps_the_classes_proportions_and_at_least_two_of_each():
    full = make_split(*[0] * 90, *[1] * 30, *[2] * 3)
    third = candidates.subsample(full, 1 / 3, task="classification", seed=0)
    assert np.bincount(third.labels.astype(int)).tolist() == [30, 10, 2]


def test_a_larger_share_holds_the_smaller_one():
    full = make_split(*np.arange(100.0))
    small, large = (set(candidates.subsample(full, s, task="regression", seed=0).item_ids) for s in (1 / 9, 1 / 3))
    assert small < large
    assert (len(small), len(large)) == (11, 33)
