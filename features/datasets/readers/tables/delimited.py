"""CSV, TSV and the like, row by row."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from icebox.features.abc.account import Account
from icebox.features.datasets.readers.tables.columns import Column, TableRow, empty_table, position
from icebox.features.datasets.readers.tables.text_files import (
    LONGEST_LINE_CHARACTERS,
    ByteCount,
    lines,
    no_row,
    open_text,
    read_span,
)
from icebox.features.errors import IceboxError
from icebox.features.json_files import one_line

if TYPE_CHECKING:
    from _csv import Reader


def read_delimited(
    path: Path,
    requested: Sequence[tuple[str, Column]],
    account: Account,
    *,
    encoding: str,
    delimiter: str,
    quotes: bool,
    escape: str | None,
    header: bool,
) -> Iterator[TableRow]:
    """Rows of a file whose cells a delimiter separates; blank lines between rows are noted,
    and so are lines that repeat the header (of files joined end to end) and quotes that are none.

    Raises IceboxError for a broken row, with its line, and as `open_text` does.
    """
    csv.field_size_limit(LONGEST_LINE_CHARACTERS)
    columns: list[str] = []
    positions: list[int] = []
    blank: list[str] = []
    with open_text(path, encoding, newline="") as stream:
        last, count = "", ByteCount(path, encoding)

        def remembered() -> Iterator[str]:
            nonlocal last
            for line in lines(stream, path):
                last = line
                count.add(line)
                yield line

        reader = csv_reader(remembered(), path, delimiter=delimiter, quotes=quotes, escape=escape)
        while True:
            start, start_bytes = reader.line_num + 1, count.total
            try:
                cells = next(reader, None)
            except csv.Error as error:
                raise broken_row(path, start, max(start, reader.line_num), last, error) from error
            if cells is None:
                break
            where = f"{path}, line {reader.line_num}"
            if not cells:
                blank.append(where)
                continue
            if not columns:
                columns = cells
                positions = [position(path, key, column, columns, named=header) for key, column in requested]
                if header:
                    continue
            for passed_over in blank:  # those at the file's end are no gap
                account.note("blank_lines", "blank lines between rows", passed_over)
            blank.clear()
            if len(cells) != len(columns):
                raise IceboxError(
                    f"datasets: {where}: expected {len(columns)} columns like the first line, "
                    f"found {len(cells)}; mind the quotes, and the delimiter, which is {delimiter!r}"
                )
            if header and cells == columns and len(cells) > 1:  # of one column, it may be a text
                account.note(
                    "repeated_header", "lines that repeat the first, with the names of columns, left out", where
                )
                continue
            requested_cells = [cells[place] for place in positions]
            if quotes and any(cell[:1] == " " and cell.lstrip(" ")[:1] == '"' for cell in requested_cells):
                description = "rows with a blank before a quote, which makes the quotes a part of the text"
                account.note("blank_before_quote", description, where)
            span = None if start_bytes is None or count.total is None else (start_bytes, count.total - start_bytes)
            yield TableRow(where, requested_cells, span)
    if not columns:
        raise empty_table(path)


def csv_reader(texts: Iterable[str], path: Path, *, delimiter: str, quotes: bool, escape: str | None) -> "Reader":
    """The rows of these lines. Raises IceboxError for a delimiter or an escape that is none."""
    try:
        return csv.reader(
            texts,
            delimiter=delimiter,
            quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
            escapechar=escape,
            strict=True,  # a quote that closes before the cell ends is an error, not a guess
        )
    except (TypeError, ValueError) as error:  # a delimiter of two letters
        raise IceboxError(
            f"datasets: can't read {path} with delimiter {delimiter!r}, quotes {quotes}, escape {escape!r}: "
            f"{one_line(error)}; correct them"
        ) from error


def read_delimited_span(
    path: Path,
    requested: Sequence[tuple[str, Column]],
    span: tuple[int, int],
    *,
    encoding: str,
    delimiter: str,
    quotes: bool,
    escape: str | None,
    header: bool,
) -> list[str]:
    """The requested cells of the row that lies at these bytes. Raises IceboxError where there is no such row now."""
    text = read_span(path, span, encoding)
    open_reader = partial(csv_reader, path=path, delimiter=delimiter, quotes=quotes, escape=escape)
    columns = first_row(path, path.stat().st_mtime_ns, encoding, delimiter=delimiter, quotes=quotes, escape=escape)
    try:
        rows = list(open_reader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise no_row(path, span) from error
    if len(rows) != 1 or len(rows[0]) != len(columns):
        raise no_row(path, span)
    return [rows[0][position(path, key, column, columns, named=header)] for key, column in requested]


@lru_cache(maxsize=64)
def first_row(
    path: Path, modified_ns: int, encoding: str, *, delimiter: str, quotes: bool, escape: str | None
) -> list[str]:
    """The cells of the first line that is not blank."""
    with open_text(path, encoding, newline="") as stream:
        reader = csv_reader(lines(stream, path), path, delimiter=delimiter, quotes=quotes, escape=escape)
        return next(filter(None, reader), [])


def broken_row(path: Path, start: int, end: int, last: str, error: csv.Error) -> IceboxError:
    """The error for a row that csv can't read, which goes from line `start` to `end`; `last` is the text of `end`."""
    if "field limit" in str(error):
        reason = f"a cell of more than {LONGEST_LINE_CHARACTERS:,} characters; is a quote never closed?"
    elif "end of data" in str(error):
        reason = "a quote opens in this row and is never closed"
    else:
        reason = one_line(error)
    where = f"line {start}" if start == end else f"lines {start} to {end}"
    escape = "'\\' is here" if '\\"' in last else "'\\' often is"
    return IceboxError(
        f"datasets: can't read {path}, {where}: {reason}; a quote within a quoted cell is written twice; set `escape` "
        f"to the character that stands before it, as {escape}, or `quotes: false` where quotes are ordinary characters"
    )
