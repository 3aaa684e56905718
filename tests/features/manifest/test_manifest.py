from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icebox.features.abc.dataset import Dataset, Item, Pair
from icebox.features.manifest import manifest

STAY = "; they stay, since they have a label"
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
    return Texts(*(Item(item_id=f"i{n}", source=s, label="ab"[n % 2], **common) for n, s in enumerate(sources)))


def splits(dataset: Dataset, **settings) -> list[str]:
    return [row.split for row in manifest.build(dataset, **FRACTIONS | settings)]


def test_the_fractions_hold_on_many_items():
    found = splits(texts(*map(str, range(4000))))
    assert found.count("test") == pytest.approx(1000, abs=100)
    assert found.count("val") == pytest.approx(1000, abs=100)


def test_stratified_fractions_are_exact_in_each_class():
    for label in ("a", "b"):
        rows = manifest.build(texts(*map(str, range(80))), **FRACTIONS, stratify=True)
        found = [row.split for row in rows if row.label == label]
        assert [found.count(split) for split in ("train", "val", "test")] == [20, 10, 10]


def test_equal_contents_share_a_split():
    for content in "abcdefghijklmnop":
        assert len(set(splits(texts(content, content)))) == 1


def test_a_group_shares_a_split():
    assert len(set(splits(texts(*map(str, range(50)), group="anna")))) == 1


def test_official_splits_and_further_test_sets_are_kept():
    parts = ("train", "val", "test", "test-mismatched")
    items = [Item(item_id=str(n), source=str(n), label=str(n % 3), split=parts[n % 4]) for n in range(40)]
    assert splits(Texts(*items)) == [item.split for item in items]


@pytest.mark.parametrize(("official", "drawn"), [("test", {"val"}), ("val", {"test"}), ("test-other", {"val", "test"})])
def test_what_is_not_official_is_taken_from_train(official, drawn):
    train = [Item(item_id=f"a{n}", source=f"a{n}", label=str(n % 2), split="train") for n in range(400)]
    other = [Item(item_id=f"b{n}", source=f"b{n}", label=str(n % 2), split=official) for n in range(400)]
    found = splits(Texts(*train, *other))
    assert set(found) == {"train", official, *drawn}
    assert found[400:] == [official] * 400
    for split in drawn:
        assert found.count(split) == pytest.approx(100, abs=40)


def test_progress_sees_every_item():
    seen = []
    manifest.build(texts("x", "y"), **FRACTIONS, progress=lambda items: seen.extend(items) or items)
    assert [item.source for item in seen] == ["x", "y"]


printable = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(st.tuples(printable, printable)), st.booleans())
def test_what_was_written_is_what_is_read(tmp_path_factory, pairs, sliced):
    path = tmp_path_factory.mktemp("m") / "m.csv"
    rows = [
        manifest.ManifestRow(
            item_id=f"i{n}",
            item_key="0",
            label=label,
            split="train",
            group="",
            source=source,
            slices={"genre": label, "source": source} if sliced else {},
        )
        for n, (label, source) in enumerate(pairs)
    ]
    manifest.write(path, rows)
    assert manifest.read(path) == rows


def test_an_item_without_a_slice_that_others_have_is_empty_there(tmp_path):
    common = {"item_key": "0", "label": "a", "split": "train", "group": "", "source": ""}
    rows = [
        manifest.ManifestRow(item_id="1", **common, slices={"genre": "fiction"}),
        manifest.ManifestRow(item_id="2", **common),
    ]
    manifest.write(tmp_path / "m.csv", rows)
    assert [row.slices for row in manifest.read(tmp_path / "m.csv")] == [{"genre": "fiction"}, {"genre": ""}]


@pytest.mark.parametrize(
    ("contents", "description", "count"),
    [
        (["a", "", "  ", "b"], "texts that are empty", 2),
        ([Pair("a", "b"), Pair("a", ""), Pair(" ", "b")], "pairs of which one side is empty", 2),
        ([Pair("a", "b"), Pair("", "\n")], "pairs of which both sides are empty", 1),
        (["don\x92t", "a", "caf\ufffd"], "texts with characters that are none, as a wrong encoding gives", 2),
        ([Pair("a", "\x80 5"), Pair("a", "b")], "texts with characters that are none, as a wrong encoding gives", 1),
    ],
)
def test_doubtful_texts_are_noted(contents, description, count):
    class Source(Dataset):
        modality = "text"

        def items(self):
            return (Item(item_id=str(i), source=str(i), label=str(i % 2)) for i in range(len(contents)))

        def read(self, source):
            return contents[int(source)]

    source = Source()
    manifest.build(source, val=0, test=0, seed=0)
    assert [(r.description.removesuffix(STAY), r.count) for r in source.account.remarks()] == [(description, count)]
