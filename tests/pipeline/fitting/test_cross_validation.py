import numpy as np
import pytest

from icebox.features.errors import IceboxError
from icebox.pipeline.fitting import cross_validation
from tests.pipeline.labels import make_split


def test_each_item_is_judged_once_and_each_fold_has_each_class():
    pairs = cross_validation.folds(make_split(*[0] * 10, *[1] * 5), 5, task="classification", seed=0)
    assert sorted(i for _, judged in pairs for i in judged.item_ids) == sorted(f"i{n}" for n in range(15))
    assert [np.bincount(judged.labels.astype(int)).tolist() for _, judged in pairs] == [[2, 1]] * 5


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_group_is_never_on_both_sides(task):
    groups = "abcdefghij" * 3
    for fitted_on, judged in cross_validation.folds(make_split(*[0, 1] * 15, groups=groups), 3, task=task, seed=0):
        assert not set(fitted_on.groups) & set(judged.groups)


def test_a_rare_class_makes_fewer_folds():
    assert len(cross_validation.folds(make_split(*[0] * 9, 1, 1, 1), 5, task="classification", seed=0)) == 3


def test_a_class_of_one_item_is_refused():
    with pytest.raises(IceboxError, match="give the dataset a val split"):
        cross_validation.folds(make_split(0, 0, 0, 1), 5, task="classification", seed=0)
