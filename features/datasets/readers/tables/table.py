"""Tables of any of the usual kinds, read row by row: CSV, TSV, JSON Lines and arrays, Parquet."""

import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from icebox.features.abc.account import Account
from icebox.features.datasets.readers.file_kinds import require_file
from icebox.features.datasets.readers.tables.columns import Column, TableRow
from icebox.features.datasets.readers.tables.delimited import read_delimited, read_delimited_span
from icebox.features.datasets.readers.tables.json_rows import read_json_rows, read_json_span
from icebox.features.datasets.readers.tables.parquet_rows import read_parquet_rows
from icebox.features.errors import IceboxError

TABS = {".tsv", ".tab"}
JSON_LINES = {".jsonl", ".ndjson", ".json"}
PARQUET = {".parquet", ".pq"}
TABLES = {".csv"} | TABS | JSON_LINES | PARQUET
COMPRESSED = {".gz", ".bz2", ".xz"}
CHARACTERS_FREE, EXPANSION, ROW_CHARACTERS = 1 << 26, 100, 200  # of what a file may become; a row is an object, too
REFERENCE = re.compile(r"(row:\d{1,18}|bytes:\d{1,18}:\d{1,18}):(.+)", re.S)
BLOCK_ROWS = 1 << 12
TABLES_KEPT = 8  # in memory, of those whose rows can't be found by their bytes
LOADING = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Table:
    """A file and how to read it. The suffix decides the format; any other than those of JSON and Parquet is CSV.

    Behind the suffix may stand .gz, .bz2 or .xz. `delimiter` None: a tab for .tsv, else a comma. `quotes`: whether "
    encloses a cell; None: not with tabs (MNLI has it within sentences, and reading it as a quote would swallow rows),
    else yes. `escape`: the character before a quote that belongs to a cell; a quote written twice does so in any case.
    `header`: whether the first line of a CSV holds the columns' names. `pictures`: the parameter that asks for a column
    which may hold pictures themselves.
    """

    path: Path
    encoding: str = "utf-8"
    delimiter: str | None = None
    quotes: bool | None = None
    escape: str | None = None
    header: bool = True
    pictures: str | None = None

    def rows(self, requested: Sequence[tuple[str, Column]], account: Account | None = None) -> Iterator[TableRow]:
        """The cells of the `requested` columns for each row, in that order. Columns go by name, or by number from 0.

        `requested` pairs the name of a parameter (for the errors) with a column. What is passed over is noted in
        `account`. Raises IceboxError for a missing or empty file, a missing column, a wrong encoding, a broken row, and
        rows that are out of all proportion to the file.
        """
        require_file(self.path, f"the columns {', '.join(str(column) for _, column in requested)}")
        allowed = CHARACTERS_FREE + EXPANSION * self.path.stat().st_size
        for row in self._rows(requested, account or Account(), allowed):
            allowed -= ROW_CHARACTERS + sum(map(len, row.cells))
            if allowed < 0:
                raise IceboxError(
                    f"datasets: {row.where}: the rows up to here are more than {EXPANSION} times as large as the file; "
                    "write it anew if it is what it should be"
                )
            yield row

    def cells(self, requested: Sequence[tuple[str, Column]], place: tuple[int, ...]) -> list[str]:
        """The cells of the `requested` columns in one row: by its first byte and number of bytes, or by its number.

        Raises IceboxError where the file has no such row now, and OSError where there is no file.
        """
        if len(place) == 1:
            return row_cells(self, tuple(requested), self.path.stat().st_mtime_ns, place[0])
        span = place[0], place[1]
        if table_suffix(self.path) in JSON_LINES:
            return read_json_span(self.path, requested, span, encoding=self.encoding)
        return read_delimited_span(self.path, requested, span, encoding=self.encoding, **self._dialect())

    def _dialect(self) -> dict[str, Any]:
        """How the cells of a CSV are separated."""
        delimiter = self.delimiter or ("\t" if table_suffix(self.path) in TABS else ",")
        return {
            "delimiter": delimiter,
            "quotes": delimiter != "\t" if self.quotes is None else self.quotes,
            "escape": self.escape,
            "header": self.header,
        }

    def _rows(self, requested: Sequence[tuple[str, Column]], account: Account, allowed: int) -> Iterator[TableRow]:
        kind = table_suffix(self.path)
        if kind in PARQUET:
            return read_parquet_rows(self.path, requested, characters_max=allowed, pictures=self.pictures)
        if kind in JSON_LINES:
            return read_json_rows(self.path, requested, encoding=self.encoding, characters_max=allowed)
        return read_delimited(self.path, requested, account, encoding=self.encoding, **self._dialect())

    def has(self, column: Column) -> bool:
        """Whether the table has this column; False, too, for one that can't be read."""
        try:
            next(self.rows([("column", column)]), None)
        except IceboxError:
            return False
        return True


def row_cells(table: Table, requested: tuple[tuple[str, Column], ...], modified_ns: int, number: int) -> list[str]:
    """The cells of a row by its number, of a table that is kept in memory once it was read."""
    with LOADING:  # by one of several threads
        columns = loaded_columns(table, requested, modified_ns)
    if number >= len(columns[0]):
        raise IceboxError(
            f"datasets: {table.path}: expected a row {number:,}, found {len(columns[0]):,} rows; the file has changed",
            hint="make the manifest again",
        )
    return [column[number].as_py().decode("utf-8", "surrogatepass") for column in columns]


@lru_cache(maxsize=TABLES_KEPT)
def loaded_columns(table: Table, requested: tuple[tuple[str, Column], ...], modified_ns: int) -> list[Any]:
    """The requested columns of all rows, as Arrow keeps them: about the bytes of their texts."""
    import pyarrow as pa

    blocks: list[list[Any]] = [[] for _ in requested]
    rows = table.rows(requested)
    while block := list(islice(rows, BLOCK_ROWS)):
        for i, chunks in enumerate(blocks):
            cells = [row.cells[i].encode("utf-8", "surrogatepass") for row in block]
            chunks.append(pa.array(cells, pa.large_binary()))
    return [pa.concat_arrays(chunks) if chunks else pa.array([], pa.large_binary()) for chunks in blocks]


def reference_to(row: TableRow, number: int, name: str) -> str:
    """The reference by which `referred` and `Table.cells` find a row of the file called `name` again.

    `number` is the row's among those that `Table.rows` gives, from 0.
    """
    return f"row:{number}:{name}" if row.span is None else f"bytes:{row.span[0]}:{row.span[1]}:{name}"


def referred(source: str) -> tuple[str, tuple[int, ...]] | None:
    """(the file's name, the place in it) that a reference of a row names; None for what is none."""
    match = REFERENCE.fullmatch(source)
    return (match[2], tuple(map(int, match[1].split(":")[1:]))) if match else None


def path_name(path: Path) -> str:
    """A path as references have it: also one whose name is no Unicode."""
    return path.as_posix().encode("utf-8", "backslashreplace").decode()


@lru_cache(maxsize=64)
def table_suffix(path: Path) -> str:
    """The suffix that tells a table's format, in small letters, without one of compression behind it."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def has_table_ending(path: Path) -> bool:
    """Whether a file's name ends as a table's."""
    return table_suffix(path) in TABLES
