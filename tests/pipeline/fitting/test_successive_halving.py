import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import HalvingGridSearchCV

from icebox.pipeline.fitting import successive_halving
from tests.pipeline.labels import part


@pytest.mark.parametrize("settings", [2, 3, 8, 9, 10, 30])
def test_rounds_are_scikit_learns(settings):
    X, y = np.zeros((8100, 1)), np.arange(8100) % 2
    grid = {"random_state": list(range(settings))}
    theirs = HalvingGridSearchCV(DummyClassifier(strategy="prior"), grid, cv=2, refit=False).fit(X, y)
    ours = list(successive_halving.rounds(settings))
    assert [n for n, _ in ours] == theirs.n_candidates_
    assert [round(share * 8100) for _, share in ours] == theirs.n_resources_


def test_a_share_keeps_the_classes_proportions_and_at_least_two_of_each():
    full = part(*[0] * 90, *[1] * 30, *[2] * 3)
    third = successive_halving.share_of(full, 1 / 3, task="classification", seed=0)
    assert np.bincount(third.labels.astype(int)).tolist() == [30, 10, 2]


def test_a_larger_share_holds_the_smaller_one():
    full = part(*np.arange(100.0))
    small, large = (
        set(successive_halving.share_of(full, s, task="regression", seed=0).item_ids) for s in (1 / 9, 1 / 3)
    )
    assert small < large
    assert (len(small), len(large)) == (11, 33)
