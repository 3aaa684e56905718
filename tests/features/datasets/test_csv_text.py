import os
from pathlib import Path

import pytest

from features.datasets.csv_text import Source
from features.errors import IceboxError


@pytest.fixture
def table(tmp_path):
    def write(content: str | bytes, name: str = "table.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def items(path: Path, **settings):
    return list(Source(path=path, **settings).items())


def texts(path: Path, **settings):
    return [item.source for item in items(path, **settings)]


def test_rows_are_items_in_order_numbered_from_0(table):
    path = table("text,label\none,a\ntwo,b\n\n,a\n")
    assert [(i.item_id, i.source, i.label, i.split, i.group) for i in items(path)] == [
        ("0", "one", "a", "", ""),
        ("1", "two", "b", "", ""),
        ("2", "", "a", "", ""),
    ]
    assert Source(path=path).read("two") == "two"


def test_split_id_and_group_come_from_their_columns(table):
    path = table("who,text,label,part,key\np1,one,a,train,x\np2,two,b,test,y\n")
    found = items(path, split="part", id="key", group="who")
    assert [(i.item_id, i.split, i.group) for i in found] == [("x", "train", "p1"), ("y", "test", "p2")]


def test_quoted_cells_may_hold_commas_quotes_and_lines(table):
    assert texts(table('text,label\n"one, ""two""\nthree",a\n')) == ['one, "two"\nthree']


def test_quotes_in_a_tab_separated_file_are_ordinary_characters(table):
    path = table('text\tlabel\n"quite so, he said\ta\nand "yes"\tb\n', "table.tsv")
    assert texts(path) == ['"quite so, he said', 'and "yes"']


def test_quotes_in_a_tab_separated_file_can_enclose_cells_on_request(table):
    assert texts(table('text\tlabel\n"one\ttwo"\ta\n', "table.tsv"), quotes=True) == ["one\ttwo"]


def test_several_text_columns_are_joined_by_newlines(table):
    assert texts(table("premise,hypothesis,label\np,h,a\n"), text=["premise", "hypothesis"]) == ["p\nh"]


def test_a_file_without_header_has_columns_by_number(table):
    path = table(b"4;x;caf\xe9\n0;y;tea\n")
    found = items(path, header=False, text=2, label=0, encoding="latin-1", delimiter=";")
    assert [(i.source, i.label) for i in found] == [("café", "4"), ("tea", "0")]


def test_excels_byte_order_mark_is_not_part_of_a_name(table):
    assert texts(table(b"\xef\xbb\xbftext,label\none,a\n")) == ["one"]


def test_a_cell_may_be_longer_than_csvs_own_limit(table):
    assert len(texts(table(f"text,label\n{'x' * 200_000},a\n"))[0]) == 200_000


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        ("text,label\none,a\n", {"text": "tweet"}, "has no column 'tweet', named by `text`; there are: text, label"),
        ("text,label\none,a\n", {"label": 2}, "has no column 2, named by `label`; there are: text, label"),
        ("text,text,label\n1,2,a\n", {}, "has two columns 'text', named by `text`"),
        ("text,label\none,a\n", {"header": False}, r"no column 'text'.*0 to 1 \(header: false"),
        ("text,label\none,a\n", {"id": "key"}, "no column 'key', named by `id`"),
        ("key,text,label\nx,one,a\nx,two,b\n", {"id": "key"}, "line 3: id 'x' was line 2's already"),
        ("text,label\none,a\ntwo, \n", {}, "line 3: column 'label' is empty"),
        ("text,label\none,a\ntwo, too,b\n", {}, "line 3: expected 2 columns like the first line, found 3"),
        ("text,label\none,a\ntwo\n", {}, "line 3: expected 2 columns like the first line, found 1"),
        (b"text,label\ncaf\xe9,a\n", {}, "holds the byte 0xe9; set `encoding` to the file's own"),
        ("text,label\none,a\n", {"encoding": "klingon"}, "unknown encoding: klingon"),
        ("text,label\none,a\n", {"delimiter": "::"}, "delimiter '::'"),
        ('text,label\n"one" two,a\n', {}, "can't read"),
        ("", {}, "is empty"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(table, content, settings, message):
    with pytest.raises(IceboxError, match=message):
        items(table(content), **settings)


def test_a_missing_file_is_named_with_the_folder_it_was_looked_for_in(tmp_path):
    with pytest.raises(IceboxError, match=r"no file nowhere\.csv; .*project's root"):
        items(Path("nowhere.csv"))


real_data = pytest.mark.skipif("ICEBOX_REAL_DATA" not in os.environ, reason="ICEBOX_REAL_DATA names no folder")


@real_data
@pytest.mark.real_data
@pytest.mark.parametrize(
    ("file", "settings", "rows", "labels"),
    [
        ("medical_tweets/tweets.csv", {}, 7000, {"0", "1"}),
        ("sentiment140/training.csv", {"header": False, "text": 5, "label": 0, "id": 1}, 10_000, {"0", "4"}),
        (
            "mnli/dev_matched.tsv",
            {"text": ["sentence1", "sentence2"], "label": "gold_label", "id": "index"},
            9815,
            {"entailment", "neutral", "contradiction"},
        ),
    ],
)
def test_published_files_are_read_whole(file, settings, rows, labels):
    found = items(Path(os.environ["ICEBOX_REAL_DATA"]) / file, **settings)
    assert len(found) == rows
    assert {item.label for item in found} == labels
