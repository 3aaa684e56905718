import csv
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icebox.features.abc.dataset import Dataset, Item, Pair
from icebox.features.errors import IceboxError
from icebox.features.manifest import manifest, tables
from icebox.features.manifest.build import build

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
    return [row.split for row in build(dataset, **FRACTIONS | settings)]


def test_the_fractions_hold_on_many_items():
    found = splits(texts(*map(str, range(4000))))
    assert found.count("test") == pytest.approx(1000, abs=100)
    assert found.count("val") == pytest.approx(1000, abs=100)


def test_stratified_fractions_are_exact_in_each_class():
    for label in ("a", "b"):
        rows = build(texts(*map(str, range(80))), **FRACTIONS, stratify=True)
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
    build(texts("x", "y"), **FRACTIONS, progress=lambda items: seen.extend(items) or items)
    assert [item.source for item in seen] == ["x", "y"]


printable = st.text(st.characters(exclude_categories=["Cs"]))


@settings(deadline=None)
@given(st.lists(st.tuples(printable, printable)), st.booleans())
def test_what_was_written_is_what_is_read(tmp_path_factory, pairs, sliced):
    path = tmp_path_factory.mktemp("m") / "m.parquet"
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
    manifest.write(tmp_path / "m.parquet", rows)
    assert [row.slices for row in manifest.read(tmp_path / "m.parquet")] == [{"genre": "fiction"}, {"genre": ""}]


def some_rows(count: int) -> list[manifest.ManifestRow]:
    """Rows with real keys, repeated labels and groups, and a slice that some lack."""
    return [
        manifest.ManifestRow(
            item_id=f"i{i}",
            item_key=hashlib.sha256(f"{i % 7}".encode()).hexdigest(),
            label=f"{i * i % 5}",
            split=("train", "val", "test", "test-far")[i % 4],
            group=f"g{i % 11}" if i % 3 else "",
            source=f"t.csv:{i}",
            slices={"label": f"{i % 2}"} if i < count // 2 else {},
        )
        for i in range(count)
    ]


def test_equal_rows_are_equal_bytes_however_they_came_together(tmp_path, monkeypatch):
    rows = some_rows(40)
    manifest.write(tmp_path / "a", rows)
    for block in (1, 7):
        monkeypatch.setattr(tables, "BLOCK_ROWS", block)
        manifest.write(tmp_path / "b", iter(rows))
        assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()
    kept = manifest.Manifest.of([*some_rows(60)[::-1], *rows]).take(range(60, 100))
    manifest.write(tmp_path / "c", kept)
    assert (tmp_path / "c").read_bytes() == (tmp_path / "a").read_bytes()


def test_rows_of_several_row_groups_are_read_in_order_with_one_dictionary(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "GROUP_ROWS", 8)
    manifest.write(tmp_path / "m.parquet", some_rows(40))
    read = manifest.read(tmp_path / "m.parquet")
    expected = [replace(row, slices={"label": row.slices.get("label", "")}) for row in some_rows(40)]
    assert list(read) == expected
    assert [read[i] for i in range(-40, 40)] == [*expected, *expected]
    assert read[3:9] == expected[3:9]
    assert read[::-2] == expected[::-2]
    assert read.take([5, 5, 1]) == [expected[5], expected[5], expected[1]]
    with pytest.raises(IndexError):
        read[40]
    assert sorted(read.labels.dictionary.to_pylist()) == ["0", "1", "4"]
    assert read.split_counts() == Counter(row.split for row in expected)
    assert read.positions("test-far").tolist() == list(range(3, 40, 4))
    assert read.positions("none").tolist() == []


def test_keys_that_are_no_sha256_stay_as_they_are(tmp_path):
    for keys in (["0", "a" * 64], ["A" * 64], [" " * 2 + "a" * 62], ["ab" * 32]):
        rows = [replace(row, item_key=key) for row, key in zip(some_rows(2), keys, strict=False)]
        assert [row.item_key for row in manifest.Manifest.of(rows)] == keys


def test_the_sample_has_the_first_items_of_each_split(tmp_path):
    manifest.write_sample(tmp_path / "s.csv", manifest.Manifest.of(some_rows(80)))
    with (tmp_path / "s.csv").open(newline="") as stream:
        sample = list(csv.DictReader(stream))
    assert Counter(row["split"] for row in sample) == dict.fromkeys(("train", "val", "test", "test-far"), 12)
    assert [row["item_id"] for row in sample[:3]] == ["i0", "i4", "i8"]
    assert sample[0]["item_key"] == hashlib.sha256(b"0").hexdigest()
    manifest.write_sample(tmp_path / "s.csv", manifest.Manifest.of([]))
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 1


@pytest.mark.parametrize("broken", ["caf\ud83d", Pair("a", "\udc00")])
def test_a_content_with_half_of_a_character_is_refused_by_its_item(broken):
    source = texts("x", "y")
    source.read = {"x": "x", "y": broken}.get
    with pytest.raises(IceboxError, match=r"item 'i1': .* is half of a character"):
        build(source, **FRACTIONS)


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
    build(source, val=0, test=0, seed=0)
    assert [(r.description.removesuffix(STAY), r.count) for r in source.account.remarks()] == [(description, count)]
