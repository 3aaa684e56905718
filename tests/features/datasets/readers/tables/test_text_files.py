import bz2
import gzip
import io
import json
import lzma
import zipfile

import pyarrow
import pyarrow.parquet
import pytest

from icebox.features.datasets.readers.tables import text_files
from icebox.features.datasets.readers.tables.table import Table, has_table_ending
from icebox.features.errors import IceboxError

CSV = "text,label\nriver boat,yes\nstone hill,no\n"
ROWS = [["river boat", "yes"], ["stone hill", "no"]]
REQUESTED = [("text", "text"), ("label", "label")]


@pytest.fixture
def write(tmp_path):
    def table(content: bytes | str, name: str = "t.csv", **settings) -> Table:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return Table(path=tmp_path / name, **settings)

    return table


def cells(table: Table) -> list[list[str]]:
    return [row.cells for row in table.rows(REQUESTED)]


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("name", ["t.csv.gz", "t.csv"])
def test_a_compressed_file_is_read_whatever_its_name(write, compress, name):
    assert cells(write(compress(CSV.encode()), name)) == ROWS


@pytest.mark.parametrize("name", ["t.tsv.gz", "t.jsonl.bz2"])
def test_the_format_is_told_by_the_suffix_before_that_of_compression(write, name):
    lines = [json.dumps({"text": text, "label": label}) for text, label in ROWS]
    content = CSV.replace(",", "\t") if "tsv" in name else "\n".join(lines)
    assert cells(write(gzip.compress(content.encode()), name)) == ROWS
    assert has_table_ending(write("", name).path)


@pytest.mark.parametrize("cut", [-1, -9, 15])
def test_a_compressed_file_that_was_cut_short_is_one_line(write, cut):
    with pytest.raises(IceboxError, match="can't be read as gzip: ") as caught:
        cells(write(gzip.compress(CSV.encode())[:cut], "t.csv.gz"))
    assert "\n" not in str(caught.value)


def workbook() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/worksheets/sheet1.xml", "<x/>")
    return stream.getvalue()


def parquet() -> bytes:
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a"]}), stream)
    return stream.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (workbook(), r"is an Excel workbook \(\.xlsx\); save its sheet as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), r"is an old Excel workbook \(\.xls\); save its sheet"),
        (b"PK\x03\x04" + bytes(500), "is a zip archive; unpack it"),
        (parquet(), r"is Parquet; name it \.parquet"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "is HDF5, as h5py writes it; expected a table"),
        (b"SQLite format 3\x00" + bytes(99), "is an SQLite database; expected a table"),
        (b"\x80\x04\x95" + bytes(99), "is a pickle; expected a table"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", "Git LFS .*: git lfs pull"),
        (CSV.encode("utf-16"), "is text in UTF-16; set `encoding: utf-16`"),
        (CSV.encode("utf-16-le"), "UTF-16 without a mark, for which set `encoding` to utf-16-le"),
        (CSV.encode("utf-16-be"), "UTF-16 without a mark, for which set `encoding` to utf-16-be"),
    ],
)
def test_what_is_no_plain_text_is_called_by_its_name_whatever_the_encoding(write, content, message, encoding):
    with pytest.raises(IceboxError, match=message) as caught:
        cells(write(content, encoding=encoding))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "UTF_16", "utf-8-sig", "cp1252"])
def test_other_encodings_are_read_on_request(write, encoding):
    assert cells(write(CSV.encode(encoding), encoding=encoding)) == ROWS


def test_windows_own_encoding_is_named_before_latin_1(write):
    table = write("text,label\ndon’t – €5,yes\n".encode("cp1252"))
    with pytest.raises(IceboxError, match=r"holds the byte 0x92; .* often cp1252 .Windows., else latin-1"):
        cells(table)


@pytest.mark.parametrize("encoding", ["klingon", "hex", "utf-16", "u\0", "idna"])
def test_an_encoding_that_does_not_fit_is_one_line(write, encoding):
    with pytest.raises(IceboxError) as caught:
        cells(write("text,label\n" + "x" * 99 + "é,y", encoding=encoding))
    assert "encoding" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("start", ["ORC", "PAR1", "Rar!", "BZh", "%PDF", "Obj"])
def test_a_plain_table_whose_first_letters_are_a_signature_is_a_table(write, start):
    table = write(f"{start},text,label\n1,a,b\n")
    assert cells(table) == [["a", "b"]]


def test_a_line_without_end_is_refused(write, monkeypatch):
    monkeypatch.setattr(text_files, "LONGEST_LINE_CHARACTERS", 100)
    with pytest.raises(IceboxError, match="line 2: has 100 characters or more"):
        cells(write("text,label\n" + "x" * 150))
