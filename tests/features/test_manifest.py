from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import manifest
from features.datasets.base import Dataset, Item
from features.errors import IceboxError

FRACTIONS = {"val": 0.25, "test": 0.25, "seed": 0}


class Texts(Dataset):
    modality = "text"

    def __init__(self, *items: Item) -> None:
        self.listed = items

    def items(self) -> Iterator[Item]:
        yield from self.listed

    def read(self, source: str) -> str:
        return source


def texts(*sources: str, **common) -> Texts:
    return Texts(*(Item(item_id=f"i{n}", source=s, label="a", **common) for n, s in enumerate(sources)))


def test_adding_items_moves_no_old_one():
    few = {row.source: row.split for row in manifest.build(texts(*"abcdefgh"), **FRACTIONS)}
    many = {row.source: row.split for row in manifest.build(texts(*"xyzabcdefghuvw"), **FRACTIONS)}
    assert few.items() <= many.items()


def test_the_fractions_hold_on_many_items():
    splits = [row.split for row in manifest.build(texts(*map(str, range(4000))), **FRACTIONS)]
    assert splits.count("test") == pytest.approx(1000, abs=100)
    assert splits.count("val") == pytest.approx(1000, abs=100)


def test_equal_contents_share_a_split():
    for content in "abcdefghijklmnop":
        assert len({row.split for row in manifest.build(texts(content, content), **FRACTIONS)}) == 1


def test_a_group_shares_a_split():
    assert len({row.split for row in manifest.build(texts(*map(str, range(50)), group="anna"), **FRACTIONS)}) == 1


def test_official_splits_are_kept():
    rows = manifest.build(texts(*map(str, range(20)), split="test"), **FRACTIONS)
    assert {row.split for row in rows} == {"test"}


def test_val_is_taken_from_an_official_train_that_has_none():
    splits = [row.split for row in manifest.build(texts(*map(str, range(400)), split="train"), **FRACTIONS)]
    assert set(splits) == {"train", "val"}
    assert splits.count("val") == pytest.approx(100, abs=40)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (texts(), "expected items, found none"),
        (Texts(Item(item_id="x", source="1", label="a"), Item(item_id="x", source="2", label="a")), "1 repeated: x"),
        (Texts(Item(item_id="x", source="1", label="")), "item 'x': expected a label"),
        (texts("1", split="dev"), "item 'i0': expected a split of train, val, test, found 'dev'"),
    ],
)
def test_what_makes_no_sense_is_refused(dataset, message):
    with pytest.raises(IceboxError, match=message):
        list(manifest.build(dataset, **FRACTIONS))


printable = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(st.tuples(printable, printable)))
def test_what_was_written_is_what_is_read(tmp_path_factory, pairs):
    path = tmp_path_factory.mktemp("m") / "m.csv"
    rows = [
        manifest.Row(item_id=f"i{n}", item_key="0", label=label, split="train", group="", source=source)
        for n, (label, source) in enumerate(pairs)
    ]
    manifest.write(path, rows)
    assert manifest.read(path) == rows
