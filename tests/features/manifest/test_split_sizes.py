import pytest

from icebox.features.abc.account import Account
from icebox.features.manifest.build import note_drawn_test
from icebox.features.manifest.manifest import ManifestRow
from icebox.features.manifest.split_sizes import split_remarks


def rows(**labels: str) -> list[ManifestRow]:
    """A row for each letter, which is its label, of each split."""
    return [
        ManifestRow(item_id=f"{split}{i}", item_key="", label=label, split=split.replace("_", "-"), group="", source="")
        for split, letters in labels.items()
        for i, label in enumerate(letters)
    ]


def sentences(of: list[ManifestRow], task="classification") -> list[str]:
    return [remark.sentence() for remark in split_remarks(of, task)]


def test_splits_of_few_items_are_named_with_what_an_item_weighs():
    assert sentences(rows(train="ab" * 50, val="ab" * 8, test="ab" * 25, test_far="a")) == [
        "items in val, few to compare heads by (one item is 6.2 points): 16",
        "items in test-far, few to compare heads by (one item is 100.0 points): 1",
    ]


@pytest.mark.parametrize(
    ("letters", "said"),
    [
        (
            {"train": "ab" * 50, "val": "ab" * 50},
            ["splits without an item, which no head can be fitted without: 1, test"],
        ),
        ({"test": "ab" * 50}, ["splits without an item, which no head can be fitted without: 1, train"]),
        ({}, []),
    ],
)
def test_a_split_that_heads_need_and_that_is_empty_is_named(letters, said):
    assert sentences(rows(**letters)) == said


def test_classes_of_few_items_in_a_large_split_are_named_with_their_numbers():
    found = sentences(rows(train="abc" * 50, val="a" * 60 + "bbbb", test="abc" * 20))
    assert found == ["classes with fewer than 5 items in val: 2, b (4), c (0)"]


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_labels_that_hardly_repeat_are_no_classes(task):
    titles = "".join(map(chr, range(200, 300)))
    assert sentences(rows(train=titles, val=titles, test=titles), task) == []


@pytest.mark.parametrize(
    ("official", "drawn", "said"),
    [
        ({"val", "train"}, 14, ["test items cut out of train (the dataset has train, val only): 14"]),
        ({"train"}, 9, ["test items cut out of train (the dataset has train only): 9"]),
        ({"train", "val"}, 0, []),
        ({"train", "test"}, 14, []),
        ({""}, 14, []),
        ({"", "train"}, 14, []),
    ],
)
def test_a_test_that_was_cut_out_of_an_official_train_is_told(official, drawn, said):
    account = Account()
    note_drawn_test(account, official, drawn)
    assert [remark.sentence() for remark in account.remarks()] == said
