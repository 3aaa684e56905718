"""New items for a head, as a user gives them: tables, lines, folders, stdin; and what comes out."""

import csv
import gzip
import io
import json
import os
import resource
import signal
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from icebox.features.abc.dataset import Pair
from icebox.features.backbones import transformers as text_family
from icebox.features.errors import IceboxError
from icebox.features.text.pairs import PAIR
from icebox.pipeline.cli.app import main
from icebox.pipeline.inference import fitted_head
from icebox.pipeline.project import paths
from tests.features.backbones.test_transformers import bert
from tests.features.backbones.test_transformers import save as save_text_network
from tests.pipeline.inference.heads import fit

GOOD, BAD = ["good thing", "a good one", "so good"], ["bad thing", "a bad one", "so bad"]
NOTES = [(text, "plus") for text in GOOD] + [(text, "minus") for text in BAD]
ARTICLES = [("\n".join([text, "body"]), label) for text, label in NOTES]
PAIRS = [(Pair(text, text), label) for text, label in NOTES]
PROMPT = "dog runs "
CATS = [("the cat sat", "cat"), ("a cat", "cat"), ("the dog", "dog"), ("a dog runs", "dog")]
SIZES = [(f"{'good ' * n}thing", n / 2 - 1) for n in range(5)]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Heads on texts, titles with bodies, pairs, numbers, docstrings, pictures in folders and pictures in a table."""
    folder = tmp_path_factory.mktemp("heads")
    csv_text = {"source": "csv_text"}
    pictures = [(np.full((6, 6), grey, np.uint8), "bright" if grey > 99 else "dark") for grey in (10, 40, 200, 240)]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        text = {"text": "body", "label": "topic", "id": "key", "path": "notes.csv"}
        fit("notes", NOTES, backbone="hashing", parameters=text, **csv_text)
        latin = {"path": "n.csv", "encoding": "latin-1", "clean": ["lower"]}
        fit("latin", NOTES, backbone="hashing", clean=["lower"], parameters=latin, **csv_text)
        fit(
            "articles",
            ARTICLES,
            backbone="hashing",
            parameters={"path": "a.csv", "text": ["title", "body"]},
            **csv_text,
        )
        pair = {"path": "p.jsonl", "first": "question1", "second": "question2"}
        fit("pairs", PAIRS, backbone="hashing", view=PAIR, parameters=pair, **csv_text)
        fit("sizes", SIZES, backbone="hashing", parameters={"path": "s.csv"}, **csv_text)
        source = save_text_network(folder / "bert", bert, num_hidden_layers=1)
        text_family.fetch(paths.backbone("tiny"), weights=str(source))
        of_tiny = {"backbone": "tiny", "family": "transformers", "outputs": ["last:mean"], "source": "csv_text"}
        fit("asked", CATS, **of_tiny, options={"prompt": PROMPT}, parameters={"path": "c.csv"})
        fit("written", [(PROMPT + text, label) for text, label in CATS], **of_tiny, parameters={"path": "c.csv"})
        fit("docs", NOTES, backbone="hashing", source="docstrings", parameters={})
        fit("older", NOTES, backbone="hashing")
        fit("photos", pictures, backbone="pixels", source="image_folder", parameters={"path": "raw/photos"})
        listed = {"path": "t.csv", "image": "file", "label": "kind"}
        fit("listed", pictures, backbone="pixels", source="image_table", parameters=listed)
        fit("arrays", pictures, backbone="pixels", source="image_arrays", parameters={"path": "a.npz"})
    return folder


@pytest.fixture
def run(project, tmp_path, monkeypatch, capsys):
    """Run `predict` with files of a folder of one's own → (exit code, rows, stderr)."""
    monkeypatch.chdir(project)

    def predict(head, *arguments, stdin=None):
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main(["predict", f"{head}/head", *map(str, arguments)])
        printed = capsys.readouterr()
        return code, list(csv.DictReader(io.StringIO(printed.out, newline=""))), printed.err

    return predict


def labels(rows):
    return [row["label"] for row in rows]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def picture(path: Path, grey: int = 250) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (6, 6), grey).save(path)
    return path


def one_line(error: str) -> bool:
    return len(error.splitlines()) == 1 and "Traceback" not in error


# --- tables


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_a_table_is_read_by_the_datasets_own_columns_without_its_label(run, tmp_path, ending):
    rows = [{"key": f"k{i}", "x": "=1", "body": text} for i, text in enumerate(["so good", "a bad one", "good, good"])]
    path = tmp_path / f"new.{ending}"
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif ending == "jsonl":
        write(path, "".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as stream:
            table = csv.DictWriter(stream, list(rows[0]), delimiter="\t" if ending == "tsv" else ",")
            table.writeheader()
            table.writerows(rows)
    code, answers, _ = run("notes", path)
    assert code == 0
    assert [(row["id"], row["input"], row["label"]) for row in answers] == [
        ("k0", "so good", "plus"),
        ("k1", "a bad one", "minus"),
        ("k2", "good, good", "plus"),
    ]
    assert all(float(row["p_plus"]) + float(row["p_minus"]) == pytest.approx(1, abs=1e-5) for row in answers)


def test_rows_are_numbered_where_the_table_has_no_ids_and_ids_may_repeat(run, tmp_path):
    path = write(tmp_path / "new.csv", "body\nso good\nso bad\n")
    assert [row["id"] for row in run("notes", path)[1]] == ["0", "1"]
    path = write(tmp_path / "twice.csv", "key,body\n7,so good\n7,so bad\n")
    assert [row["id"] for row in run("notes", path)[1]] == ["7", "7"]


def test_of_several_files_each_id_begins_with_its_file(run, tmp_path):
    paths = [write(tmp_path / name, "body\nso good\n") for name in ("a.csv", "b.csv")]
    assert [row["id"] for row in run("notes", *paths)[1]] == [f"{path}:0" for path in paths]


def test_a_text_with_line_ends_in_a_quoted_cell_is_one_item(run, tmp_path):
    _, rows, _ = run("notes", write(tmp_path / "new.csv", 'topic,body\nminus,"so\ngood\r\nand\rgood"\nplus,so bad\n'))
    assert [(row["input"], row["label"]) for row in rows] == [("so\ngood\r\nand\rgood", "plus"), ("so bad", "minus")]


def test_a_title_and_a_body_are_one_item(run, tmp_path):
    path = write(tmp_path / "new.csv", 'body,title\n"river, boat",good\nhill,bad\n')
    assert labels(run("articles", path)[1]) == ["plus", "minus"]
    assert labels(run("articles", stdin=b"good\triver\nbad\thill\n")[1]) == ["plus", "minus"]
    code, rows, error = run("articles", stdin=b"good 7\nboat hill rain\n")
    assert (code, rows) == (1, [])
    assert "stdin, line 1: expected 2 texts (title, body) with a tab between them, found 1" in error


def test_a_pair_with_an_empty_side_is_answered_and_counted(run, tmp_path):
    lines = [{"question1": "so good", "question2": None}, {"question1": "bad", "question2": "bad"}]
    path = write(tmp_path / "new.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    _, rows, error = run("pairs", path)
    assert [row["input"] for row in rows] == ["so good\t", "bad\tbad"]
    assert "1 pairs with an empty text" in error
    assert len(run("pairs", stdin=b"what is it\t\n\ta\n")[1]) == 2


def test_a_missing_column_is_one_line_and_another_can_be_named(run, tmp_path):
    path = write(tmp_path / "new.csv", "text;n\nso good;1\nso bad;2\n")
    code, rows, error = run("notes", path)
    assert (code, rows) == (1, [])
    assert "has no column 'body'" in error
    assert one_line(error)
    assert labels(run("notes", path, "--set", "text=text", "--set", "delimiter=;")[1]) == ["plus", "minus"]
    assert "csv_text.txt: no such parameter" in run("notes", path, "--set", "txt=text")[2]
    assert "expected KEY=VALUE" in run("notes", path, "--set", "text")[2]


def test_a_table_for_a_head_whose_dataset_was_none_is_never_taken_for_lines_unasked(run, tmp_path):
    path = write(tmp_path / "new.csv", "n,text\n1,so good\n2,so bad\n")
    for head in ("docs", "older"):
        code, rows, error = run(head, path)
        assert (code, rows) == (1, [])
        assert "--source csv_text --set text=COLUMN, its lines as texts by --lines" in error
        assert [row["input"] for row in run(head, path, "--lines")[1]] == ["n,text", "1,so good", "2,so bad"]
        assert labels(run(head, path, "--source", "csv_text")[1]) == ["plus", "minus"]
    assert "it holds images, and the head takes texts" in run("docs", path, "--source", "image_folder")[2]
    assert "no source named" in run("docs", path, "--source", "nope")[2].replace("dataset named", "source named")


# --- lines


def test_lines_end_at_line_ends_only_and_each_has_an_answer(run, tmp_path):
    texts = ["so good\u2028really", "", "so\x0bbad\x0c", "\x85good\x1c", "  ", " bad "]
    _, rows, error = run("docs", write(tmp_path / "new.txt", "\n".join(texts[:3]) + "\r\n" + "\r\n".join(texts[3:])))
    assert [row["input"] for row in rows] == texts
    assert [row["id"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert "2 empty texts; they are answered all the same" in error


def test_the_mark_of_utf_8_is_no_part_of_the_first_text(run, tmp_path):
    assert run("docs", write(tmp_path / "new.txt", b"\xef\xbb\xbfso good\n"))[1][0]["input"] == "so good"


def test_lines_are_read_in_the_datasets_encoding_and_cleaned_as_its_texts(run, tmp_path):
    path = write(tmp_path / "new.txt", "So GOOD, café\n".encode("latin-1"))
    assert run("latin", path)[1][0]["input"] == "so good, café"
    code, rows, error = run("docs", path)
    assert (code, rows) == (1, [])
    assert f"{path}, line 1: is not utf-8: it holds the byte 0xe9" in error
    assert one_line(error)
    assert run("docs", path, "--encoding", "cp1252")[1][0]["input"] == "So GOOD, café"
    assert run("docs", write(path, "good\n\nbad\n".encode("utf-16")), "--encoding", "utf-16")[1][2]["input"] == "bad"
    assert "unknown encoding" in run("docs", path, "--encoding", "nope")[2]


def test_a_broken_byte_is_told_with_its_line(run, tmp_path):
    path = write(tmp_path / "new.txt", b"good\n" * 5000 + b"caf\xe9\n")
    assert "line 5001: is not utf-8" in run("docs", path, "--out", tmp_path / "out.csv")[2]
    assert not (tmp_path / "out.csv").exists()


def test_compressed_lines_are_unpacked_and_other_kinds_called_by_name(run, tmp_path):
    packed = gzip.compress(b"so good\nso bad\n")
    assert labels(run("docs", write(tmp_path / "new.txt.gz", packed))[1]) == ["plus", "minus"]
    assert "can't be read" in run("docs", write(tmp_path / "new.txt.gz", packed[:-9]))[2]
    others = {
        "an Excel workbook": b"PK\x03\x04" + bytes(40) + b"xl/workbook",
        "a PNG": b"\x89PNG\r\n\x1a\n",
        "text in UTF-16; name its encoding: --encoding utf-16": "good\nbad".encode("utf-16"),
        "NUL characters; name its encoding: --encoding utf-16": "so good, really\nbad".encode("utf-16-le"),
    }
    for kind, content in others.items():
        for head in ("docs", "latin"):
            code, rows, error = run(head, write(tmp_path / "new.txt", content))
            assert (code, rows) == (1, [])
            assert one_line(error)
            assert kind.replace("an Excel workbook", "a zip archive") in error
    assert "found gzip" in run("latin", stdin=packed)[2]


def test_a_compressed_table_is_a_table(run, tmp_path):
    path = write(tmp_path / "new.csv.gz", gzip.compress(b"body\nso good\n"))
    assert labels(run("notes", path)[1]) == ["plus"]
    assert "--source csv_text" in run("docs", path)[2]


@pytest.mark.parametrize(
    ("kind", "table"),
    [
        ("csv", b"key,body\n1,so good\n"),
        ("tsv", b"body\ttopic\nso good\tx\n"),
        ("jsonl", b'{"body": "so good"}\n'),
        ("csv", b"body\nso good\n"),
    ],
)
def test_the_header_of_a_table_on_stdin_is_no_text(run, kind, table):
    code, rows, error = run("notes", stdin=table)
    assert (code, rows) == (1, [])
    assert f"say --stdin {kind}" in error
    assert [row["input"] for row in run("notes", "--stdin", kind, stdin=table)[1]] == ["so good"]
    assert len(run("notes", "--lines", stdin=table)[1]) == table.count(b"\n")


def test_a_text_that_only_looks_a_little_like_a_header_is_a_text(run):
    assert len(run("notes", stdin=b"some body, he said\n")[1]) == 1
    assert len(run("docs", stdin=b"text\n")[1]) == 1


def test_errors_in_a_table_on_stdin_name_stdin(run):
    error = run("notes", "--stdin", "csv", stdin=b"text\nso good\n")[2]
    assert "stdin has no column 'body'" in error


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=70))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
@pytest.mark.slow
def test_any_texts_in_a_table_have_as_many_answers_in_their_order(run, tmp_path, ending, texts):
    path, out = tmp_path / f"new.{ending}", tmp_path / f"out.{ending}"
    if ending == "csv":
        with path.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([["body"], *([text] for text in texts)])
    elif ending == "jsonl":
        write(path, "".join(json.dumps({"body": text}) + "\n" for text in texts))
        if not texts:
            return  # no line names the columns
    else:
        pq.write_table(pa.table({"body": pa.array(texts, pa.string())}), path)
    assert run("notes", path, "--out", out)[0] == 0
    assert [row["input"] for row in read_back(out)] == texts
    assert [row["id"] for row in read_back(out)] == [str(i) for i in range(len(texts))]


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\0"), max_size=12)))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_lines_have_as_many_answers_in_their_order(run, tmp_path, texts):
    texts = [text.removeprefix("\ufeff").rstrip("\r") for text in texts]
    _, rows, _ = run("docs", write(tmp_path / "new.txt", "".join(f"{text}\n" for text in texts)))
    assert [row["input"] for row in rows] == texts


def read_back(out: Path):
    if out.suffix == ".parquet":
        return pq.read_table(out).to_pylist()
    if out.suffix == ".jsonl":
        return [json.loads(line) for line in out.read_text(encoding="utf-8").split("\n")[:-1]]
    with out.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


# --- images


def test_a_folder_is_read_by_the_rules_of_training(run, tmp_path):
    for name in ("1.png", "deep/er/2.PNG", "album.jpg/3.png"):
        picture(tmp_path / "new" / name)
    for name in ("._1.png", ".hidden/4.png", "notes.txt"):
        write(tmp_path / "new" / name, b"x") if "/" not in name else picture(tmp_path / "new" / name)
    os.mkfifo(tmp_path / "new/pipe.png")
    code, rows, error = run("photos", f"{tmp_path}/new/")
    assert code == 0
    assert "files passed over: hidden: 1, ._1.png" in error
    assert "no plain files, but pipes, sockets or devices: 1, pipe.png" in error
    assert [row["id"] for row in rows] == [
        f"{tmp_path}/new/{name}" for name in ("1.png", "album.jpg/3.png", "deep/er/2.PNG")
    ]
    assert set(labels(rows)) == {"bright"}
    assert [row["input"] for row in rows] == [row["id"] for row in rows]


BROKEN = {
    "empty.png": lambda path: write(path, b""),
    "text.png": lambda path: write(path, b"no picture"),
    "nothing.png": lambda path: path.symlink_to("gone.png"),
    "itself.png": lambda path: path.symlink_to(path.name),
    "pipe.png": os.mkfifo,
}


@pytest.mark.parametrize(
    ("name", "listed"),  # in a folder a pipe is passed over, and a link to itself an error, as in training
    [*((name, True) for name in BROKEN), *((name, False) for name in list(BROKEN)[:3])],
)
def test_a_picture_that_cannot_be_read_is_named_or_costs_its_own_row_only(run, tmp_path, name, listed):
    picture(tmp_path / "new/a.png")
    BROKEN[name](tmp_path / "new" / name)
    picture(tmp_path / "new/z.png", 3)
    inputs = sorted((tmp_path / "new").iterdir()) if listed else [tmp_path / "new"]
    out = write(tmp_path / "out.csv", "as it was\n")
    code, _, error = run("photos", *inputs, "--out", out, "--on-error", "fail")
    assert code == 1
    assert one_line(error)
    assert name in error
    assert out.read_text() == "as it was\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "out.csv"]
    code, _, error = run("photos", *inputs, "--out", out)
    assert code == 0
    assert labels(read_back(out)) == ["bright", "dark"]
    assert "left out 1 of 3 items" in error
    assert name in error


def test_a_table_without_rows_has_no_answers_and_a_first_batch_that_fails_prints_nothing(run, tmp_path, capsys):
    assert run("notes", write(tmp_path / "new.csv", "body\n"), "--out", tmp_path / "out.csv")[0] == 0
    assert (tmp_path / "out.csv").read_text() == "id,input,label,p_minus,p_plus\n"
    assert main(["predict", "photos/head", str(write(tmp_path / "a.png", b"")), "--on-error", "fail"]) == 1
    assert capsys.readouterr().out == ""


def test_where_nothing_can_be_read_nothing_is_written(run, tmp_path):
    code, _, error = run("photos", write(tmp_path / "a.png", b"x"), "--on-error", "skip", "--out", tmp_path / "out.csv")
    assert code == 1
    assert "none of the 1 items could be read" in error
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_folder_whose_name_is_a_pictures_is_a_folder(run, tmp_path):
    (tmp_path / "x.png").mkdir()
    error = run("photos", tmp_path / "x.png")[2]
    assert "expected images in this folder, found none" in error
    assert one_line(error)


def test_pictures_are_read_from_a_table_whose_paths_lie_beside_it(run, tmp_path):
    picture(tmp_path / "pictures/1.png")
    picture(tmp_path / "pictures/2.png", 3)
    path = write(tmp_path / "test.csv", "n,file\n1,pictures/1.png\n2,pictures/2.png\n3,pictures/1.png\n")
    _, rows, _ = run("listed", path)
    assert labels(rows) == ["bright", "dark", "bright"]
    assert [row["id"] for row in rows] == ["pictures/1.png", "pictures/2.png", "pictures/1.png"]
    assert labels(run("listed", tmp_path / "pictures")[1]) == ["bright", "dark"]
    write(path, "n,file\n1,pictures/1.png\n2,pictures/none.png\n")
    assert "pictures/none.png" in run("listed", path, "--on-error", "fail")[2]
    assert labels(run("listed", path)[1]) == ["bright"]
    write(path, "n,file\n1,pictures/1.png\n2,pictures/2.png\n3,pictures/1.png\n")
    assert "--source image_table --set image=COLUMN" in run("photos", path)[2]
    assert len(run("photos", path, "--source", "image_table", "--set", "image=file")[1]) == 3


def test_arrays_without_labels_are_read_like_those_of_the_dataset(run, tmp_path):
    np.savez(tmp_path / "new.npz", images=np.array([np.full((6, 6), grey) for grey in (250, 3)], np.uint8))
    assert labels(run("arrays", tmp_path / "new.npz")[1]) == ["bright", "dark"]


@pytest.mark.parametrize("arguments", [[], ["-"], ["nowhere"], ["nowhere.png"], ["results"]])
def test_an_input_that_is_not_there_is_one_line(run, arguments):
    code, _, error = run("photos", *arguments, "--on-error", "fail")
    assert code == 1
    assert one_line(error)


# --- output


@pytest.mark.parametrize("name", ["new.csv", "link.csv", "notes.csv"])
def test_no_input_and_no_raw_data_is_overwritten(run, tmp_path, project, name):
    path = write(tmp_path / "new.csv", "body\nso good\n")
    (tmp_path / "link.csv").symlink_to(path)
    own = write(project / "notes.csv", "the dataset's own")
    code, _, error = run("notes", path, "--out", own if name == "notes.csv" else tmp_path / name)
    assert code == 1
    assert "would be lost" in error
    assert path.read_text() == "body\nso good\n"
    assert own.read_text() == "the dataset's own"


def test_a_folder_an_unknown_ending_and_a_place_below_a_file_are_one_line(run, tmp_path):
    path = write(tmp_path / "new.csv", "body\nso good\n")
    (tmp_path / "folder.csv").mkdir()
    expected = {
        "folder.csv": "found a folder",
        "out.txt": "ends in .csv, .jsonl, .parquet",
        "new.csv/out.csv": "new.csv is no folder",
        f"{'x' * 300}.csv": "ame too long",
    }
    for name, reason in expected.items():
        code, _, error = run("notes", path, "--out", tmp_path / name)
        assert code == 1
        assert one_line(error)
        assert reason in error
    assert run("notes", path, "--out", tmp_path / "made/here/out.csv")[0] == 0
    assert len(read_back(tmp_path / "made/here/out.csv")) == 1


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(run, tmp_path, ending):
    path = write(tmp_path / "new.txt", "so good and so on\n" * 2000)
    out = write(tmp_path / f"out.{ending}", "as it was\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
        code, _, error = run("notes", path, "--out", out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert code == 1
    assert one_line(error)
    assert "can't" in error
    assert out.read_text() == "as it was\n"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["new.txt", out.name]


@pytest.mark.parametrize("head", ["notes", "sizes"])
@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_other_formats_hold_the_same_rows_with_numbers_as_numbers(run, tmp_path, head, ending):
    path = write(tmp_path / "new.txt", "so good\nso bad\n")
    _, rows, _ = run(head, path)
    run(head, path, "--out", tmp_path / f"out.{ending}")
    other = read_back(tmp_path / f"out.{ending}")
    assert [list(row) for row in other] == [list(row) for row in rows]
    for row, same in zip(rows, other, strict=True):
        for name, value in same.items():
            if name in ("id", "input") or (name == "label" and head == "notes"):
                assert value == row[name]
            else:
                assert value == pytest.approx(float(row[name]), abs=1e-5)


def test_formulas_are_made_harmless_on_request(run, tmp_path):
    texts = ["=1+1", "+1", "-1", "@x", "\tx", " =1", "=\x0b", "good", 'a "=1"']
    path = write(tmp_path / "new.txt", "\n".join(texts))
    plain = run("docs", path)[1]
    safe = run("docs", path, "--safe-csv")[1]
    assert [row["input"] for row in plain] == texts
    assert [row["input"] for row in safe] == [*(f"'{text}" for text in texts[:7]), *texts[7:]]
    assert [float(row["p_plus"]) for row in safe] == [float(row["p_plus"]) for row in plain]
    assert "leave it out" in run("docs", path, "--safe-csv", "--out", tmp_path / "out.jsonl")[2]


# --- the same in Python


def test_the_library_reads_and_answers_as_the_command_does(run, project, tmp_path):
    path = write(tmp_path / "new.csv", "key,topic,body\n1,plus,so good\n2,minus,so bad\n3,minus,\n")
    _, rows, _ = run("notes", path)
    head = fitted_head.load("notes/head", project=project)
    items = head.read(path, labelled=True)
    assert head.predict(items).tolist() == labels(rows)
    assert [(item.item_id, item.label) for item in items] == [("1", "plus"), ("2", "minus"), ("3", "minus")]
    picture(tmp_path / "new/1.png")
    photos = fitted_head.load("photos/head", project=project)
    assert photos.predict(photos.read(tmp_path / "new")).tolist() == ["bright"]
    with pytest.raises(IceboxError, match="No such file"):
        photos.predict(photos.read(tmp_path / "none.png"))


def leave_predictions(name: str, *, classes: list[str], details: dict | None = None, kind: str = "p") -> None:
    """What a fit leaves beside a bundle: predictions for val, where classes have 0.05 to 0.99, and details."""
    path = paths.predictions(name, "head")
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"item_id": [str(i) for i in range(400)], "split": ["val"] * 400}
    columns |= {"label": [classes[i % 2] for i in range(400)], "prediction": [classes[0]] * 400}
    of_label = [0.05 + i / 425 for i in range(400)]
    first = [share if i % 2 == 0 else 1 - share for i, share in enumerate(of_label)]
    columns |= {f"{kind}_{classes[0]}": first, f"{kind}_{classes[1]}": [1 - each for each in first]}
    pq.write_table(pa.table(columns), path)
    if details is not None:
        paths.details(name, "head").parent.mkdir(parents=True, exist_ok=True)
        paths.details(name, "head").write_text(json.dumps(details))


CHOSEN_ON_VAL = {"refit": "train", "calibrate": "none", "chosen_on": "val"}


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("by_class", [[], ["--by-class"]])
def test_sets_of_classes_stand_beside_the_label(run, tmp_path, ending, by_class):
    leave_predictions("notes", classes=["minus", "plus"], details=CHOSEN_ON_VAL)
    texts = write(tmp_path / "new.txt", "good thing\nbad thing\ngood bad thing\n")
    out = tmp_path / f"out{ending}"
    code, _, err = run("notes", "--lines", texts, "--coverage", "0.9", "--out", out, *by_class)
    assert code == 0, err
    rows = {
        ".csv": lambda: list(csv.DictReader(io.StringIO(out.read_text()))),
        ".jsonl": lambda: [json.loads(line) for line in out.read_text().splitlines()],
        ".parquet": lambda: pq.read_table(out).to_pylist(),
    }[ending]()
    assert list(rows[0]) == ["id", "input", "label", "set", "p_minus", "p_plus"]
    sets = [json.loads(row["set"]) for row in rows]
    assert sets == [["plus"], ["minus"], ["minus", "plus"]]


@pytest.mark.parametrize(
    ("details", "arguments", "sentence"),
    [
        (CHOSEN_ON_VAL, ["--coverage", "1.5"], "expected a share between 0 and 1, found 1.5"),
        (CHOSEN_ON_VAL | {"refit": "train+val"}, ["--coverage", "0.9"], "which this head was fitted on"),
        (CHOSEN_ON_VAL, ["--by-class"], "ask for them: --coverage 0.9"),
        (None, ["--coverage", "0.9"], "which is not here; run: dvc pull results/"),
    ],
)
def test_sets_that_can_not_be_had_are_one_line_and_nothing_is_written(run, tmp_path, details, arguments, sentence):
    leave_predictions("docs", classes=["minus", "plus"], details=details)
    out = tmp_path / "out.csv"
    code, _, err = run("docs", write(tmp_path / "new.txt", "good\n"), "--lines", "--out", out, *arguments)
    assert (code, len(err.splitlines())) == (1, 1), err
    assert sentence in err
    assert not out.exists()
    paths.details("docs", "head").unlink(missing_ok=True)


def test_a_stores_prompt_stands_before_new_texts_too(run, tmp_path):
    (tmp_path / "plain.txt").write_text("the cat\na dog\n")
    (tmp_path / "asked.txt").write_text(f"{PROMPT}the cat\n{PROMPT}a dog\n")

    def answers(store: str, file: str) -> list[float]:
        code, rows, _ = run(store, tmp_path / file, "--lines")
        assert code == 0
        return [float(row["p_cat"]) for row in rows]

    assert answers("asked", "plain.txt") == pytest.approx(answers("written", "asked.txt"), abs=1e-5)
    assert answers("asked", "plain.txt") != pytest.approx(answers("written", "plain.txt"), abs=1e-5)


def test_the_same_prompt_stands_before_texts_in_python(project, monkeypatch):
    monkeypatch.chdir(project)
    asked, written = fitted_head.load("asked/head"), fitted_head.load("written/head")
    texts = ["the cat", "a dog"]
    np.testing.assert_allclose(
        asked.predict_proba(texts), written.predict_proba([PROMPT + text for text in texts]), atol=1e-5
    )
