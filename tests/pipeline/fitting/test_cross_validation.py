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


@pytest.mark.parametrize(("labels", "groups", "k"), [([1.5, 2, 3, 4, 5, 6], "aabbcc", 3), ([1, 2.5, 3, 4], "", 4)])
def test_a_regression_has_as_many_folds_as_groups_or_items(labels: list[float], groups: str, k: int):
    pairs = cross_validation.folds(make_split(*labels, groups=groups), 5, task="regression", seed=0)
    assert len(pairs) == k
    assert sorted(i for _, judged in pairs for i in judged.item_ids) == [f"i{n}" for n in range(len(labels))]


@pytest.mark.parametrize("groups", ["aaaa", ""])
def test_a_regression_on_one_group_or_item_is_refused(groups: str):
    with pytest.raises(IceboxError, match=r"expected two (items|groups) or more in train .* found one"):
        cross_validation.folds(make_split(*range(len(groups) or 1), groups=groups), 5, task="regression", seed=0)


def test_groups_of_very_different_size_leave_no_fold_empty():
    groups = "a" * 30 + "bcdef"
    for seed in range(20):
        pairs = cross_validation.folds(
            make_split(*[0, 1] * 15, 0, 1, 0, 1, 0, groups=groups), 5, task="classification", seed=seed
        )
        assert all(len(part) for pair in pairs for part in pair)


def test_a_class_of_one_item_is_refused():
    with pytest.raises(IceboxError, match="give the dataset a val split"):
        cross_validation.folds(make_split(0, 0, 0, 1), 5, task="classification", seed=0)


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("sizes", [(8, 8, 8, 8), (5, 20, 9, 40), (4, 60, 6, 8)])
def test_as_many_folds_as_hospitals_leave_one_hospital_out_at_a_time(task, sizes):
    hospitals = "".join(name * size for name, size in zip("abcd", sizes, strict=True))
    labels = [i % 2 for i in range(len(hospitals))]
    for seed in range(5):
        pairs = cross_validation.folds(make_split(*labels, groups=hospitals), 4, task=task, seed=seed)
        held_out = [np.unique(judged.groups).tolist() for _, judged in pairs]
        assert sorted(held_out) == [["a"], ["b"], ["c"], ["d"]]
