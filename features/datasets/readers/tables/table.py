"""Tables of any of the usual kinds, read row by row: CSV, TSV, JSON Lines and arrays, Parquet."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from icebox.features.abc.account import Account
from icebox.features.datasets.readers.file_kinds import require_file
from icebox.features.datasets.readers.tables.columns import Column, TableRow
from icebox.features.datasets.readers.tables.delimited import read_delimited
from icebox.features.datasets.readers.tables.json_rows import read_json_rows
from icebox.features.datasets.readers.tables.parquet_rows import read_parquet_rows
from icebox.features.errors import IceboxError

TABS = {".tsv", ".tab"}
JSON_LINES = {".jsonl", ".ndjson", ".json"}
PARQUET = {".parquet", ".pq"}
TABLES = {".csv"} | TABS | JSON_LINES | PARQUET
COMPRESSED = {".gz", ".bz2", ".xz"}
CHARACTERS_FREE, EXPANSION, ROW_CHARACTERS = 1 << 26, 100, 200  # of what a file may become; a row is an object, too


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

    def _rows(self, requested: Sequence[tuple[str, Column]], account: Account, allowed: int) -> Iterator[TableRow]:
        kind = table_suffix(self.path)
        if kind in PARQUET:
            return read_parquet_rows(self.path, requested, characters_max=allowed, pictures=self.pictures)
        if kind in JSON_LINES:
            return read_json_rows(self.path, requested, encoding=self.encoding, characters_max=allowed)
        delimiter = self.delimiter or ("\t" if kind in TABS else ",")
        return read_delimited(
            self.path,
            requested,
            account,
            encoding=self.encoding,
            delimiter=delimiter,
            quotes=delimiter != "\t" if self.quotes is None else self.quotes,
            escape=self.escape,
            header=self.header,
        )

    def has(self, column: Column) -> bool:
        """Whether the table has this column; False, too, for one that can't be read."""
        try:
            next(self.rows([("column", column)]), None)
        except IceboxError:
            return False
        return True


def table_suffix(path: Path) -> str:
    """The suffix that tells a table's format, in small letters, without one of compression behind it."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def has_table_ending(path: Path) -> bool:
    """Whether a file's name ends as a table's."""
    return table_suffix(path) in TABLES
