"""References to rows of tables: by their bytes where a file allows it, else by their number."""

import bz2
import csv
import gzip
import io
import json
import os
import re
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icebox.features.datasets.csv_text import Source
from icebox.features.datasets.readers.tables import table as tables
from icebox.features.errors import IceboxError

CELLS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12), min_size=1, max_size=8)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252", "utf-7", "gbk")
HINT = "make the manifest again"


def read_back(path: Path, **settings) -> tuple[list[str], list[str]]:
    """(texts, references) of a table, the texts read in another order by another source."""
    found = [item.source for item in Source(path=path, **settings).items()]
    other = Source(path=path, **settings)
    return [other.read(reference) for reference in reversed(found)][::-1], found


@settings(deadline=None, max_examples=60)
@given(
    CELLS,
    st.sampled_from(ENCODINGS),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
)
@pytest.mark.slow
def test_each_reference_gives_its_text(tmp_path_factory, cells, encoding, quoting, end, marked):
    stream = io.StringIO()
    writer = csv.writer(stream, quoting=quoting, lineterminator=end)
    writer.writerow(["label", "text"])
    cells = [cell.encode(encoding, "ignore").decode(encoding) for cell in cells]
    # a lone \r or \n outside of quotes would be a line end
    cells = [re.sub("[\r\n]", " ", cell) if quoting == csv.QUOTE_MINIMAL else cell for cell in cells]
    writer.writerows(["ab"[i % 2], cell] for i, cell in enumerate(cells))
    path = tmp_path_factory.mktemp("t") / "t.csv"
    content = stream.getvalue().encode(encoding)
    path.write_bytes(b"\xef\xbb\xbf" + content if marked and encoding == "utf-8" else content)
    texts, references = read_back(path, encoding=encoding)
    assert texts == cells
    by_bytes = encoding not in ("utf-16", "utf-7", "gbk")
    assert all(reference.startswith("bytes:" if by_bytes else "row:") for reference in references)


@settings(deadline=None, max_examples=60)
@given(CELLS, st.sampled_from(["\n", "\r\n", "\n\n"]), st.booleans())
def test_each_reference_into_json_lines_gives_its_text(tmp_path_factory, cells, end, escaped):
    lines = [json.dumps({"label": i % 2, " text ": cell}, ensure_ascii=escaped) for i, cell in enumerate(cells)]
    path = tmp_path_factory.mktemp("t") / "t.jsonl"
    path.write_bytes((end + end.join(lines)).encode())
    texts, references = read_back(path)
    assert texts == cells
    assert references[0].startswith("bytes:")


@pytest.mark.parametrize("name", ["t.csv.gz", "t.jsonl.bz2", "t.json", "t.parquet", "t.tsv"])
def test_rows_of_any_table_are_found_in_any_order(tmp_path, name, monkeypatch):
    monkeypatch.setattr(tables, "BLOCK_ROWS", 3)
    rows = [{"label": "ab"[i % 2], "text": f"naïve {i}"} for i in range(10)]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    content = {
        "t.csv.gz": gzip.compress(b"label,text\n" + "".join(f"{r['label']},{r['text']}\n" for r in rows).encode()),
        "t.jsonl.bz2": bz2.compress(lines),
        "t.json": json.dumps(rows).encode(),
        "t.tsv": b"label\ttext\n" + "".join(f"{r['label']}\t{r['text']}\n" for r in rows).encode(),
        "t.parquet": b"",
    }
    path = tmp_path / name
    path.write_bytes(content[name])
    if name == "t.parquet":
        columns = {key: [row[key] for row in rows] for key in ("label", "text")}
        pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=4)
    assert read_back(path)[0] == [row["text"] for row in rows]


def test_a_reference_behind_which_the_file_has_changed_is_one_line(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("label,text\na,one\nb,two\n")
    source = Source(path=path)
    _, second = [item.source for item in source.items()]
    path.write_text("label,text\na,one\nb")
    with pytest.raises(IceboxError, match=r"t\.csv: expected a row in 6 bytes from 17, found none") as caught:
        source.read(second)
    assert caught.value.hint == HINT
    path.write_bytes(b"label,text\na,one\nb\xff\xff\xff,\n")
    with pytest.raises(IceboxError, match="found none; the file has changed"):
        source.read(second)
    path.write_text('label,text\na,one\n"b,two\n')
    with pytest.raises(IceboxError, match="found none; the file has changed"):
        source.read(second)
    path.unlink()
    with pytest.raises(OSError, match=r"t\.csv"):
        source.read(second)


def test_a_row_that_is_gone_is_one_line(tmp_path):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"label,text\na,one\nb,two\n"))
    source = Source(path=path)
    *_, last = [item.source for item in source.items()]
    assert source.read(last) == "two"
    path.write_bytes(gzip.compress(b"label,text\na,one\n"))
    os.utime(path, ns=(1, 1))
    with pytest.raises(IceboxError, match=r"expected a row 1, found 1 rows; the file has changed") as caught:
        source.read(last)
    assert caught.value.hint == HINT


@pytest.mark.parametrize("reference", ["bytes:0:5:/etc/passwd", "row:0:other.csv", "bytes:-1:5:t.csv", "a text", ""])
def test_a_reference_to_another_file_is_refused(tmp_path, monkeypatch, reference):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("label,text\na,one\nb,two\n")
    with pytest.raises(IceboxError, match="refers to no row of the tables") as caught:
        Source(path=Path("t.csv")).read(reference)
    assert caught.value.hint == HINT
