import datetime
import struct

import pyarrow
import pyarrow.parquet
import pytest

from icebox.features.datasets.image_table import Source
from icebox.features.datasets.readers.tables import table as table_module
from icebox.features.datasets.readers.tables.table import Table
from icebox.features.errors import IceboxError

REQUESTED = [("text", "text"), ("label", "label")]


def write(path, columns: dict, **settings) -> Table:
    pyarrow.parquet.write_table(pyarrow.table(columns), path, **settings)
    return Table(path=path)


def cells(table: Table) -> list[list[str]]:
    return [row.cells for row in table.rows(REQUESTED)]


def raw(kind: str, *values: int) -> pyarrow.Array:
    """An array of a type, of any bytes."""
    content = b"".join(struct.pack("<q", value) for value in values)
    return pyarrow.Array.from_buffers(getattr(pyarrow, kind)("us"), len(values), [None, pyarrow.py_buffer(content)])


def broken_text() -> pyarrow.Array:
    return pyarrow.array([b"caf\xe9", b"ok"]).view(pyarrow.string())


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (broken_text(), "a text in it is not UTF-8"),
        (raw("timestamp", 2**62, 0), "is no whole Parquet file"),
        (raw("timestamp", 0, -(2**62)), "is no whole Parquet file"),
    ],
)
def test_values_that_python_can_not_hold_are_one_line(tmp_path, column, message):
    table = write(tmp_path / "t.parquet", {"text": ["a", "b"], "label": column}, store_schema=True)
    with pytest.raises(IceboxError, match=message) as caught:
        cells(table)
    assert "\n" not in str(caught.value)


def test_dates_numbers_and_nulls_are_text(tmp_path):
    columns = {
        "text": pyarrow.array(["a", None, "a"]).dictionary_encode(),
        "label": pyarrow.array([datetime.date(2020, 1, 2), None, datetime.date(2021, 1, 2)]),
    }
    assert cells(write(tmp_path / "t.parquet", columns)) == [["a", "2020-01-02"], ["", ""], ["a", "2021-01-02"]]


def test_equal_texts_of_a_file_are_one_object(tmp_path):
    table = write(tmp_path / "t.parquet", {"text": ["x" * 1000] * 50, "label": ["a", "b"] * 25})
    assert len({id(text) for text, _ in cells(table)}) == 1


def test_a_small_file_that_becomes_huge_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(table_module, "CHARACTERS_FREE", 1000)
    table = write(tmp_path / "t.parquet", {"text": ["x" * 10_000] * 3000, "label": ["a", "b"] * 1500})
    with pytest.raises(IceboxError, match="more than 100 times as large as the file"):
        cells(table)


def test_a_row_group_that_is_huge_by_its_metadata_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(table_module, "CHARACTERS_FREE", 1000)
    columns = {"text": ["x" * (10_000 + i) for i in range(300)], "label": [0] * 300}
    table = write(tmp_path / "t.parquet", columns, compression="zstd", use_dictionary=False)
    monkeypatch.setattr(pyarrow.parquet.ParquetFile, "iter_batches", lambda *_, **__: pytest.fail("reads it"))
    with pytest.raises(IceboxError, match="row group 0 would take"):
        cells(table)


@pytest.mark.parametrize("cut", [0, 3, 40, -8, -30])
def test_a_damaged_file_is_one_line(tmp_path, cut):
    table = write(tmp_path / "t.parquet", {"text": ["a"] * 99, "label": ["a"] * 99})
    table.path.write_bytes(table.path.read_bytes()[:cut])
    with pytest.raises(IceboxError, match="is no whole Parquet file") as caught:
        cells(table)
    assert "\n" not in str(caught.value)


def pictures(kind: str) -> pyarrow.Array:
    contents = [b"one", b"two", b"three", None]
    if kind == "bytes":
        return pyarrow.array(contents)
    return pyarrow.array([{"bytes": content, "path": "img/4.png" if content is None else "x"} for content in contents])


@pytest.mark.parametrize("kind", ["bytes", "{bytes, path}"])
def test_pictures_in_cells_are_read_when_they_are_asked_for(tmp_path, kind):
    (tmp_path / "img").mkdir()
    (tmp_path / "img/4.png").write_bytes(b"four")
    columns = {"image": pictures(kind), "label": ["a", "b", "a", "b"], "key": ["p", "q", "r", "s"]}
    write(tmp_path / "t.parquet", columns, row_group_size=2)
    source = Source(path=tmp_path / "t.parquet", image="image")
    found = list(source.items())
    assert [(item.item_id, item.label) for item in found] == [("0", "a"), ("1", "b"), ("2", "a"), ("3", "b")]
    assert [source.read(item.source) for item in found[:3]] == [b"one", b"two", b"three"]
    if kind == "bytes":
        with pytest.raises(IceboxError, match="row 3: column 'image' holds no picture"):
            source.read(found[3].source)
    else:
        assert source.read(found[3].source) == b"four"
    assert [item.item_id for item in Source(path=tmp_path / "t.parquet", image="image", id="key").items()] == [*"pqrs"]
    further = source.elsewhere(tmp_path / "t.parquet", labelled=False)
    assert [further.read(item.source) for item in list(further.items())[:3]] == [b"one", b"two", b"three"]


def test_a_table_that_is_none_of_the_datasets_is_not_read_for_a_picture(tmp_path):
    for name in ("t", "u"):
        write(tmp_path / f"{name}.parquet", {"image": pictures("bytes"), "label": ["a"] * 4})
    with pytest.raises(IceboxError, match="is none of the tables"):
        Source(path=tmp_path / "t.parquet", image="image").read(f"cell:0:{tmp_path}/u.parquet")


def test_a_list_in_a_cell_is_named(tmp_path):
    table = write(tmp_path / "t.parquet", {"text": ["a"], "label": [["x", "y"]]})
    with pytest.raises(IceboxError, match="row 0: column 'label': expected text or a number, found list"):
        cells(table)
