"""Tables of any of the usual kinds, read row by row: CSV, TSV, JSON Lines, Parquet."""

import csv
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icebox.features.errors import IceboxError

Column = str | int
TABS = {".tsv", ".tab"}
JSON_LINES = {".jsonl", ".ndjson", ".json"}
PARQUET = {".parquet", ".pq"}
TABLES = {".csv"} | TABS | JSON_LINES | PARQUET
LONGEST_CELL_CHARACTERS = 2**31 - 1  # csv's own limit is 131,072, less than a long document


@dataclass(frozen=True)
class TableRow:
    """The requested cells of a row, as text; `where` is the file and the line (in Parquet the row, from 0)."""

    where: str
    cells: list[str]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A file and how to read it. The suffix decides the format; any other than those of JSON Lines and Parquet is CSV.

    `delimiter` None: a tab for .tsv, else a comma. `quotes`: whether " encloses a cell; None: not with tabs (MNLI has
    it within sentences, and reading it as a quote would swallow rows), else yes. `header`: whether the first line of a
    CSV holds the columns' names.
    """

    path: Path
    encoding: str = "utf-8"
    delimiter: str | None = None
    quotes: bool | None = None
    header: bool = True

    def rows(self, requested: Sequence[tuple[str, Column]]) -> Iterator[TableRow]:
        """The cells of the `requested` columns for each row, in that order. Columns go by name, or by number from 0.

        `requested` pairs the name of a parameter (for the errors) with a column. Numbers become text as
        Python writes them, truth values `true` and `false`, missing values "".
        Raises IceboxError for a missing or empty file, a missing column, a wrong encoding and a broken row.
        """
        if not self.path.is_file():
            raise IceboxError(
                f"datasets: no file {self.path} (looked in {Path.cwd()}, the project's root); put it there, with the "
                f"columns {', '.join(str(column) for _, column in requested)}, or correct `path`"
            )
        kind = self.path.suffix.lower()
        if kind in PARQUET:
            return self._parquet(requested)
        return self._json_lines(requested) if kind in JSON_LINES else self._delimited(requested)

    def has(self, column: Column) -> bool:
        """Whether the table has this column; False, too, for one that can't be read."""
        try:
            next(self.rows([("column", column)]), None)
        except IceboxError:
            return False
        return True

    def _delimited(self, requested: Sequence[tuple[str, Column]]) -> Iterator[TableRow]:
        delimiter = self.delimiter or ("\t" if self.path.suffix.lower() in TABS else ",")
        quotes = delimiter != "\t" if self.quotes is None else self.quotes
        csv.field_size_limit(LONGEST_CELL_CHARACTERS)
        columns: list[str] = []
        positions: list[int] = []
        try:
            with self.path.open(encoding=self._encoding, newline="") as stream:
                reader = csv.reader(
                    stream,
                    delimiter=delimiter,
                    quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
                    strict=True,  # a quote that closes before the cell ends is an error, not a guess
                )
                for cells in reader:
                    if not cells:
                        continue  # a blank line
                    if not columns:
                        columns = cells
                        positions = [self._position(key, column, columns) for key, column in requested]
                        if self.header:
                            continue
                    where = f"{self.path}, line {reader.line_num}"
                    if len(cells) != len(columns):
                        raise IceboxError(
                            f"datasets: {where}: expected {len(columns)} columns like the first line, "
                            f"found {len(cells)}; mind the quotes, and the delimiter, which is {delimiter!r}"
                        )
                    yield TableRow(where, [cells[position] for position in positions])
        except UnicodeDecodeError as error:
            raise self._wrong_encoding(error) from error
        except (LookupError, TypeError, csv.Error) as error:  # unknown encoding, delimiter of two letters, NUL
            raise IceboxError(
                f"datasets: can't read {self.path} with encoding {self.encoding!r}, delimiter {delimiter!r}, "
                f"quotes {quotes}: {error}; correct them, or the file"
            ) from error
        if not columns:
            raise self._empty()

    def _json_lines(self, requested: Sequence[tuple[str, Column]]) -> Iterator[TableRow]:
        """One object per line; a key that some lines lack is missing there, a key that all lines lack is an error."""
        objects: list[tuple[str, dict[str, Any]]] = []
        try:
            with self.path.open(encoding=self._encoding) as stream:
                for number, line in enumerate(stream, 1):
                    if line.strip():
                        where = f"{self.path}, line {number}"
                        objects.append((where, parse_json_line(line, where)))
        except UnicodeDecodeError as error:
            raise self._wrong_encoding(error) from error
        except LookupError as error:
            raise IceboxError(f"datasets: can't read {self.path}: {error}; correct `encoding`") from error
        columns = list(dict.fromkeys(key for _, values in objects for key in values))
        if not columns:
            raise self._empty()
        names = [columns[self._position(key, column, columns)] for key, column in requested]
        for where, values in objects:
            yield TableRow(where, [as_text(values.get(name), where, name) for name in names])

    def _parquet(self, requested: Sequence[tuple[str, Column]]) -> Iterator[TableRow]:
        import pyarrow
        import pyarrow.parquet

        try:
            with pyarrow.parquet.ParquetFile(self.path) as file:
                columns = file.schema_arrow.names
                names = [columns[self._position(key, column, columns)] for key, column in requested]
                row = 0
                for batch in file.iter_batches(columns=list(dict.fromkeys(names))):
                    lists = [batch.column(name).to_pylist() for name in names]
                    for cells in zip(*lists, strict=True):
                        where = f"{self.path}, row {row}"
                        pairs = zip(cells, names, strict=True)
                        yield TableRow(where, [as_text(cell, where, name) for cell, name in pairs])
                        row += 1
        except (pyarrow.ArrowException, OSError) as error:
            raise IceboxError(f"datasets: {self.path} is no whole Parquet file: {error}") from error

    @property
    def _encoding(self) -> str:
        """Excel writes a byte order mark before UTF-8."""
        return "utf-8-sig" if self.encoding.lower() in {"utf-8", "utf8"} else self.encoding

    def _position(self, key: str, column: Column, columns: Sequence[str]) -> int:
        """The position of a column; raises IceboxError for one that is missing or ambiguous."""
        named = self.header or self.path.suffix.lower() in JSON_LINES | PARQUET
        if isinstance(column, int) and 0 <= column < len(columns):
            return column
        if named and isinstance(column, str) and columns.count(column) == 1:
            return columns.index(column)
        choices = ", ".join(columns) if named else f"0 to {len(columns) - 1} (header: false, so by number)"
        raise IceboxError(
            f"datasets: {self.path} has {'two columns' if columns.count(str(column)) > 1 else 'no column'} "
            f"{column!r}, named by `{key}`; there are: {choices}"
        )

    def _empty(self) -> IceboxError:
        return IceboxError(f"datasets: {self.path} is empty; expected rows with a label")

    def _wrong_encoding(self, error: UnicodeDecodeError) -> IceboxError:
        return IceboxError(
            f"datasets: {self.path} is not {self.encoding}: it holds the byte 0x{error.object[error.start]:02x}; "
            "set `encoding` to the file's own, often latin-1 or utf-16"
        )


def has_table_ending(path: Path) -> bool:
    """Whether a file's name ends as a table's."""
    return path.suffix.lower() in TABLES


def parse_json_line(line: str, where: str) -> dict[str, Any]:
    """The object on one line of JSON Lines."""
    try:
        values = json.loads(line)
    except ValueError as error:
        raise IceboxError(f"datasets: {where}: expected one JSON object a line (JSON Lines): {error}") from error
    if not isinstance(values, dict):
        raise IceboxError(f"datasets: {where}: expected a JSON object, found {line.strip()[:40]!r}")
    return values


def as_text(value: Any, where: str, column: str) -> str:
    """A cell as text. Raises IceboxError for a list, an object or bytes."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes | dict | list):
        raise IceboxError(
            f"datasets: {where}: column '{column}': expected text or a number, found {type(value).__name__}"
        )
    return str(value)


def column_list(columns: Column | Iterable[Column] | None) -> list[Column]:
    """One column, several or none, as a list."""
    if columns is None:
        return []
    return [columns] if isinstance(columns, str | int) else list(columns)
