from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icebox.features import splits
from icebox.features.splits import SplitUnit

FRACTIONS = {"val": 0.2, "test": 0.3, "seed": 0}
names = st.text("abcdefgh", min_size=1, max_size=3)
weights = st.integers(1, 9)
items = st.lists(st.tuples(names, st.sampled_from("xyz")), max_size=80)  # (identity, label)


def drawn(of: list[tuple[str, str]], *, stratify: bool = False, seed: int = 0) -> dict[str, str]:
    return splits.draw(splits.split_units(of), val=0.2, test=0.3, seed=seed, stratify=stratify)


@given(items, items)
def test_added_items_never_move_old_ones(old, new):
    assert drawn(old).items() <= drawn([*new, *old, *new]).items()


@given(items, st.booleans())
def test_every_identity_has_one_split_whatever_the_order(of, stratify):
    found = drawn(of, stratify=stratify)
    assert found.keys() == {identity for identity, _ in of}
    assert found == drawn(of[::-1], stratify=stratify)


@given(st.dictionaries(names, st.tuples(st.sampled_from("xyz"), weights), max_size=60), st.integers(0, 5))
def test_stratified_fractions_are_kept_within_the_largest_unit_of_each_class(of, seed):
    units = [SplitUnit(identity=name, label=label, items=n) for name, (label, n) in of.items()]
    found = splits.draw(units, val=0.2, test=0.3, seed=seed, stratify=True)
    for label in "xyz":
        mine = [unit for unit in units if unit.label == label]
        total, largest = sum(unit.items for unit in mine), max((unit.items for unit in mine), default=0)
        got = Counter[str]()
        for unit in mine:
            got[found[unit.identity]] += unit.items
        assert abs(got["test"] - 0.3 * total) <= largest / 2 + 1e-9  # one cut
        assert abs(got["val"] - 0.2 * total) <= largest + 1e-9  # between two cuts


@given(st.integers(1, 200), st.integers(0, 3))
def test_one_more_stratified_item_moves_at_most_one_old_one_at_each_cut(count, seed):
    old = [(str(n), "x") for n in range(count)]
    before = drawn(old, stratify=True, seed=seed)
    after = drawn([*old, ("new", "x")], stratify=True, seed=seed)
    assert sum(before[name] != after[name] for name in before) <= 2


def test_plain_fractions_hold_as_a_die_would():
    got = Counter(drawn([(str(n), "x") for n in range(10_000)]).values())
    assert got["test"] == pytest.approx(3000, abs=5 * 46)  # five standard deviations
    assert got["val"] == pytest.approx(2000, abs=5 * 40)


def test_another_seed_draws_another_split():
    of = [(str(n), "x") for n in range(100)]
    assert drawn(of) != drawn(of, seed=1)


def test_a_units_label_is_its_commonest_the_first_by_name_among_equals():
    assert splits.split_units([("p", "y"), ("q", "z"), ("p", "x"), ("q", "z"), ("q", "a")]) == [
        SplitUnit(identity="p", label="x", items=2),
        SplitUnit(identity="q", label="z", items=3),
    ]


def test_further_test_sets_are_on_tests_side_and_come_last():
    assert splits.in_order(["test-b", "train", "test-a", "test"]) == ["train", "test", "test-a", "test-b"]
    assert [splits.side(name) for name in ("train", "val", "test", "test-a")] == ["train", "val", "test", "test"]
    assert [name for name in ("test-a", "test-", "test-A", "test2", "dev") if splits.is_split(name)] == ["test-a"]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        (" Validation", "val"),
        ("TRAINING", "train"),
        ("train_set", "train"),
        ("Test images", "test"),
        ("devset", "val"),
        ("eval", "test"),
        ("Test-Night", "test-night"),
        ("pretrain", "pretrain"),
        ("Trainer", "Trainer"),
        ("dataset", "dataset"),
    ],
)
def test_published_names_of_splits_are_ours(name, split):
    assert splits.canonical_split_name(name) == split


@pytest.mark.parametrize(
    ("name", "split"), [("a/pets-train-000", "train"), ("seg_TEST", "test"), ("contest", ""), ("train/val", "train")]
)
def test_a_split_is_found_among_the_words_of_a_name(name, split):
    assert splits.split_within(name) == split
