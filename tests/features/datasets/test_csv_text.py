import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from icebox.features import fingerprint
from icebox.features.abc.dataset import Pair
from icebox.features.datasets.csv_text import Source
from icebox.features.errors import IceboxError
from icebox.features.manifest.build import build


@pytest.fixture
def table(tmp_path):
    def write(content: str | bytes, name: str = "table.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def items(path: Path, **settings):
    """The items, with their content in their source's place."""
    source = Source(path=path, **settings)
    return [replace(item, source=source.read(item.source)) for item in source.items()]


def texts(path: Path, **settings):
    return [item.source for item in items(path, **settings)]


def test_rows_are_items_in_order_numbered_from_0(table):
    path = table("text,label\none,a\ntwo,b\n\n,a\n")
    assert [(i.item_id, i.source, i.label, i.split, i.group) for i in Source(path=path).items()] == [
        ("0", f"bytes:11:6:{path}", "a", "", ""),
        ("1", f"bytes:17:6:{path}", "b", "", ""),
        ("2", f"bytes:24:3:{path}", "a", "", ""),
    ]
    assert texts(path) == ["one", "two", ""]


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
        ("text,label\none,a\n", {"header": False, "label": 1}, r"no column 'text'.*0 to 1 \(header: false"),
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


def test_a_missing_file_is_named_with_where_it_goes_and_the_columns_it_needs():
    with pytest.raises(IceboxError, match=r"no file nowhere\.csv .*project's root.*put it there.*columns label, text"):
        items(Path("nowhere.csv"))


def test_json_lines_give_the_same_items_as_a_csv(table):
    lines = ['{"text": "naïve, \\"two\\"\\nlines", "label": 1, "who": "p1"}', "", '{"label": 0, "text": "北京 🎉"}']
    path = table("\n".join(lines), "table.jsonl")
    found = items(path, group="who")
    assert [(i.item_id, i.source, i.label, i.group) for i in found] == [
        ("0", 'naïve, "two"\nlines', "1", "p1"),
        ("1", "北京 🎉", "0", ""),
    ]


def test_parquet_gives_the_same_items_as_a_csv(tmp_path):
    columns = {
        "id": [7, 8, 9],
        "text": ["one", "zwei", "三"],
        "label": pyarrow.array(["a", "b", "a"]).dictionary_encode(),
        "genre": ["x", None, "y"],
        "unused": [[1], [2], [3]],
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet", row_group_size=2)
    found = items(tmp_path / "t.parquet", id="id", slices=["genre"])
    assert [(i.item_id, i.source, i.label, dict(i.slices)) for i in found] == [
        ("7", "one", "a", {"genre": "x"}),
        ("8", "zwei", "b", {"genre": ""}),
        ("9", "三", "a", {"genre": "y"}),
    ]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([0, 4], ["0", "4"]),
        ([0.5, 2.0], ["0.5", "2.0"]),
        ([True, False], ["true", "false"]),
        (["b ", " b"], ["b", "b"]),
    ],
)
def test_labels_may_be_strings_numbers_or_truth_values(table, labels, expected):
    path = table("\n".join(json.dumps({"text": str(i), "label": label}) for i, label in enumerate(labels)), "t.jsonl")
    assert [item.label for item in items(path)] == expected


def test_first_and_second_make_pairs(table):
    path = table('a\tb\tlabel\n"so\tsays he\tyes\n\tnothing before\tno\n', "t.tsv")
    source = Source(path=path, first="a", second="b")
    found = list(source.items())
    assert source.modality == "pair"
    assert Source(path=path).modality == "text"
    assert [source.read(item.source) for item in found] == [Pair('"so', "says he"), Pair("", "nothing before")]


@pytest.mark.parametrize("given", [{"first": "a"}, {"second": "b"}, {"first": "a", "second": "b", "text": "a"}])
def test_half_a_pair_is_refused(given):
    with pytest.raises(IceboxError, match="need both `first` and `second`, and no `text`"):
        Source(path=Path("t.csv"), **given)


def test_several_files_are_the_splits_they_are_named_by(table):
    paths = {
        "train": table("text,label\none,a\ntwo,b\n", "train.csv"),
        "test": table("text,label\nthree,a\n", "dev_matched.csv"),
        "test-mismatched": table("text,label\nfour,b\n", "dev_mismatched.csv"),
    }
    found = items(paths)
    assert [(i.item_id, i.split, i.source) for i in found] == [
        ("train/0", "train", "one"),
        ("train/1", "train", "two"),
        ("test/0", "test", "three"),
        ("test-mismatched/0", "test-mismatched", "four"),
    ]


def test_split_names_of_other_libraries_are_understood(table):
    path = table("text,label,part\n1,a,Training\n2,a,validation\n3,b,dev\n4,b,test\n5,b, \n")
    assert [item.split for item in items(path, split="part")] == ["train", "val", "val", "test", ""]


def test_rows_of_dropped_labels_are_left_out_and_the_rest_keep_their_ids(table):
    source = Source(path=table("text,label\none,a\ntwo,-\nthree,\nfour,b\nfive,-\n"), drop_labels=["-", ""])
    assert [(i.item_id, source.read(i.source)) for i in source.items()] == [("0", "one"), ("3", "four")]
    assert [(r.description, r.count) for r in source.account.remarks()] == [
        ("rows left out whose label is '-'", 2),
        ("rows left out whose label is ''", 1),
    ]


@pytest.mark.parametrize(
    ("labels", "drop", "kept"),
    [
        (["1", "1.0", "2"], [1], ["2"]),
        (["1.0", "2.0"], ["1"], ["2.0"]),
        (["True", "x"], ["true"], ["x"]),
        (["01", "1", "2"], ["01"], ["1", "2"]),
        (["01", "1", "2"], ["1"], ["01", "2"]),
        (["a", "b"], ["", "a"], ["b"]),
    ],
)
def test_labels_to_drop_are_compared_by_their_normal_form(table, labels, drop, kept):
    path = table("text,label\n" + "".join(f"t,{label}\n" for label in labels))
    assert [item.label for item in items(path, drop_labels=drop)] == kept


@pytest.mark.parametrize(
    ("labels", "drop", "message"),  # the labels and `drop_labels`
    [
        (
            ["1", "01"],
            [1],
            "drop_labels: 1 is written as a number, .* the label '01'; quote .*: '01' or '1'",
        ),
        (["00", "01"], [0], "quote the label that you mean: '00' or '0'"),
        (["007", "x"], [7], "quote the label that you mean: '007' or '7'"),
        (["010", "x"], [8], "no row has the label 8; there are: '010', 'x'; quote it"),
        (["00", "01"], ["unsure"], "no row has the label 'unsure'; there are: '00', '01'; correct it"),
        (["Unsure", "sure"], ["unsure"], "no row has the label 'unsure'; the nearest are: 'Unsure', 'sure'"),
    ],
)
def test_labels_to_drop_that_no_row_has_are_refused_with_those_that_are_near(table, labels, drop, message):
    path = table("text,label\n" + "".join(f"t,{label}\n" for label in labels))
    with pytest.raises(IceboxError, match=message):
        items(path, drop_labels=drop)


def test_an_id_is_one_however_it_is_spelled(table):
    path = table("key,text,label\n7,one,a\n7.0,two,b\n")
    with pytest.raises(IceboxError, match=r"line 3: id '7\.0' was line 2's already"):
        items(path, id="key")


def test_what_is_hashed_is_the_cleaned_text(table):
    path = table("text,label\n@ann sooooo &amp; so,a\n@bob sooo &amp; so,b\n")
    source = Source(path=path, clean=["mentions", "html", "repeats"])
    rows = list(build(source, val=0, test=0, seed=0))
    assert [source.read(row.source) for row in rows] == ["@user soo & so"] * 2
    assert rows[0].item_key == rows[1].item_key == fingerprint.of_content("@user soo & so")


def test_both_texts_of_a_pair_are_cleaned(table):
    path = table("a,b,label\n@x  y,&lt;z,1\n")
    source = Source(path=path, first="a", second="b", clean=["mentions", "html"])
    assert source.read(next(source.items()).source) == Pair("@user y", "<z")


@pytest.mark.parametrize(
    ("name", "content", "settings", "message"),
    [
        ("t.jsonl", '{"text": "a"', {}, "line 1: expected one JSON object a line"),
        ("t.jsonl", '\n["a", "b"]', {}, "element 0: expected a JSON object, found 'a'"),
        ("t.jsonl", '{"text": "a", "label": ["x"]}', {}, "column 'label': expected text or a number, found list"),
        ("t.jsonl", '{"text": "a", "label": null}', {}, "line 1: column 'label' is empty; add the label, or leave"),
        ("t.jsonl", '{"text": "a"}', {}, "no column 'label', named by `label`; there are: text"),
        ("t.jsonl", "\n", {}, "is empty"),
        ("t.jsonl", b'{"text": "\xe9", "label": 1}', {}, "set `encoding`"),
        ("t.jsonl", '{"text": "a", "label": 1}', {"slices": ["genre"]}, "no column 'genre', named by `slices`"),
        ("t.parquet", "text,label", {}, "no whole Parquet file"),
    ],
)
def test_what_is_wrong_in_other_formats_is_said_with_its_place(table, name, content, settings, message):
    with pytest.raises(IceboxError, match=message):
        items(table(content, name), **settings)


real_data = pytest.mark.skipif("ICEBOX_REAL_DATA" not in os.environ, reason="ICEBOX_REAL_DATA names no folder")


@real_data
@pytest.mark.real_data
@pytest.mark.parametrize(
    ("file", "settings", "rows", "labels"),
    [
        ("medical_tweets/tweets.csv", {}, 7000, {"0", "1"}),
        (
            "sentiment140/training.csv",
            {"header": False, "text": 5, "label": 0, "id": 1, "encoding": "latin-1"},
            10_000,
            {"0", "4"},
        ),
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


@real_data
@pytest.mark.real_data
def test_mnli_is_pairs_in_its_two_files():
    folder = Path(os.environ["ICEBOX_REAL_DATA"]) / "mnli"
    paths = {"train": folder / "train.tsv", "test": folder / "dev_matched.tsv"}
    source = Source(path=paths, first="sentence1", second="sentence2", label="gold_label")
    found = list(source.items())
    assert Counter(item.split for item in found) == {"train": 10_000, "test": 9815}
    assert source.read(found[10_000].source) == Pair(
        "The new rights are nice enough", "Everyone really likes the newest benefits "
    )
