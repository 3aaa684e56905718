"""Predictions as a table: CSV, JSON Lines or Parquet in a file, written whole or not at all, or CSV on stdout."""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from icebox.features import files
from icebox.features.errors import IceboxError

Cell = str | float
Row = Mapping[str, Cell]
Columns = Mapping[str, type[str] | type[float]]
WriteRows = Callable[[Sequence[Row]], None]

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # OWASP, "CSV Injection"


@contextmanager
def open_table(out: Path | None, columns: Columns, *, safe: bool = False) -> Iterator[WriteRows]:
    """Yield a function that writes rows with these columns (each of str or float) to `out`, or as CSV to stdout.

    `out` appears, or is replaced, when all is written; its ending decides the format. With `safe`, no cell of a CSV is
    a formula for a spreadsheet. Raises IceboxError where `out` can't be written.
    """
    if out is None:
        yield csv_writer(sys.stdout, columns, safe=safe)
        return
    target = Path(os.path.realpath(out))  # a link stays, and what it points to is replaced
    try:
        with ExitStack() as stack:
            temporary = stack.enter_context(files.replacing(target))
            yield FORMATS[out.suffix.lower()](stack, temporary, columns, safe)
    except OSError as reason:
        raise IceboxError(f"--out {out}: can't be written: {reason.strerror or reason}") from reason


@contextmanager
def open_rows(out: Path | None, columns: Columns, *, safe: bool) -> Iterator[WriteRows]:
    """Like `open_table`, but rows go nowhere where there is no `out`."""
    if out is None:
        yield lambda rows: None
        return
    with open_table(out, columns, safe=safe) as write:
        yield write


def refuse_target(out: Path, inputs: Sequence[Path], *, safe: bool) -> None:
    """Raise IceboxError for an `out` that can take no predictions: a folder, an input, a file of another ending."""
    if out.suffix.lower() not in FORMATS:
        raise IceboxError(f"--out {out}: expected a file that ends in {', '.join(FORMATS)}")
    if safe and out.suffix.lower() != ".csv":
        raise IceboxError(f"--out {out}: --safe-csv is about CSV, which this is not; leave it out")
    above = next(path for path in out.parents if os.path.exists(path))  # noqa: PTH110, see below
    if not above.is_dir():
        raise IceboxError(f"--out {out}: can't be written: {above} is no folder")
    if not os.path.exists(out):  # noqa: PTH110, since Path.exists raises where a folder may not be entered
        return
    if not out.is_file():
        raise IceboxError(f"--out {out}: expected a file, found {'a folder' if out.is_dir() else 'a device'}")
    for path in inputs:
        if os.path.exists(path) and out.samefile(path):  # noqa: PTH110
            raise IceboxError(f"--out {out}: is an input ({path}), which would be lost; give it another name")


def csv_writer(stream: IO[str], columns: Columns, *, safe: bool) -> WriteRows:
    """A function that writes rows as CSV, before the first, or for no rows, a line of the columns' names."""
    plain = csv.writer(stream, lineterminator="\n")
    quoted = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)

    form = harmless if safe else str

    def write_line(cells: Sequence[str]) -> None:
        # `plain` does not quote a lone "\r", which readers take for a line's end
        (quoted if safe or any("\r" in cell for cell in cells) else plain).writerow(cells)

    header = [[form(name) for name in columns]]  # until it is written: a first batch that fails leaves stdout empty

    def write(rows: Sequence[Row]) -> None:
        if header:
            write_line(header.pop())
        for row in rows:
            write_line([form(cell) if isinstance(cell, str) else digits(name, cell) for name, cell in row.items()])

    return write


def digits(name: str, value: float) -> str:
    """A number as CSV has it: six decimals of a probability, six digits of any other."""
    return f"{value:.6f}" if name.startswith(("p_", "score_")) else f"{value:.6g}"


def harmless(cell: str) -> str:
    """A text that no spreadsheet takes for a formula: one that it would has an apostrophe before it."""
    return f"'{cell}" if cell.lstrip(" ").startswith(FORMULA_STARTS) else cell


def to_csv(stack: ExitStack, path: Path, columns: Columns, safe: bool) -> WriteRows:
    """CSV in UTF-8."""
    return csv_writer(stack.enter_context(path.open("w", newline="", encoding="utf-8")), columns, safe=safe)


def to_json_lines(stack: ExitStack, path: Path, columns: Columns, safe: bool) -> WriteRows:
    """One JSON object a row, numbers in full."""
    stream = stack.enter_context(path.open("w", encoding="utf-8"))

    def write(rows: Sequence[Row]) -> None:
        stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)

    return write


def to_parquet(stack: ExitStack, path: Path, columns: Columns, safe: bool) -> WriteRows:
    """Parquet, numbers in full."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.string() if kind is str else pa.float64()) for name, kind in columns.items()])
    writer = stack.enter_context(pq.ParquetWriter(path, schema))

    def write(rows: Sequence[Row]) -> None:
        writer.write_table(pa.Table.from_pylist(list(rows), schema=schema))

    return write


FORMATS: dict[str, Callable[[ExitStack, Path, Columns, bool], Any]] = {
    ".csv": to_csv,
    ".jsonl": to_json_lines,
    ".parquet": to_parquet,
}
