"""Columns of tables, by name or by number from 0."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from icebox.features.errors import IceboxError
from icebox.features.json_files import one_line

Column = str | int
DELIMITERS = (";", "\t", "|", ",")


@dataclass(frozen=True)
class TableRow:
    """The requested cells of a row, as text; `where` is the file and the line (in Parquet the row, from 0).

    `span` is the row's first byte and number of bytes, where it can be read by itself.
    """

    where: str
    cells: list[str]
    span: tuple[int, int] | None = None


def position(path: Path, key: str, column: Column, columns: Sequence[str], *, named: bool = True) -> int:
    """The position of the column that the parameter `key` asks for; blanks around a name don't count.

    Raises IceboxError for one that is missing or ambiguous.
    """
    if isinstance(column, int) and 0 <= column < len(columns):
        return column
    if named and isinstance(column, str):
        for names in (list(columns), [name.strip() for name in columns]):
            if names.count(column) == 1:
                return names.index(column)
    choices = one_line(", ".join(columns)) if named else f"0 to {len(columns) - 1} (header: false, so by number)"
    raise IceboxError(
        f"datasets: {path} has {'two columns' if columns.count(str(column)) > 1 else 'no column'} "
        f"{column!r}, named by `{key}`; there are: {choices}{advice_for(columns)}"
    )


def advice_for(columns: Sequence[str]) -> str:
    """Advice on a first line that holds no names of columns, or ""."""
    start = columns[0].strip().lower() if columns else ""
    if start.startswith(("<!doctype html", "<html")):
        return "; this is a page of the web in the table's place: fetch the table itself"
    if start.startswith("sep="):
        return f"; delete the file's first line, a note for Excel, and set `delimiter` to {(start[4:] or ',')[:1]!r}"
    other = next((each for each in DELIMITERS if len(columns) == 1 and each in start), None)
    return f"; set `delimiter` to {other!r}, which that name holds" if other else ""


def column_list(columns: Column | Iterable[Column] | None) -> list[Column]:
    """One column, several or none, as a list."""
    if columns is None:
        return []
    return [columns] if isinstance(columns, str | int) else list(columns)


def named_columns(**columns: Column | None) -> dict[str, Column]:
    """The columns that are not None."""
    return {key: column for key, column in columns.items() if column is not None}


def empty_table(path: Path) -> IceboxError:
    """The error for a table without rows."""
    return IceboxError(f"datasets: {path} is empty; expected rows with a label")
