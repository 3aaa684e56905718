"""A table of texts: one CSV or TSV file, a text and a label in every row."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from features.datasets.base import Dataset, Item
from features.errors import IceboxError

Column = str | int
Row = tuple[int, list[str]]  # the number of the line where it ends, from 1; its cells
TABS = {".tsv", ".tab"}
LONGEST_CELL_CHARACTERS = 2**31 - 1  # csv's own limit is 131,072, less than a long document


class Source(Dataset):
    """One item a row, in the file's order; the cells of several text columns are joined by newlines."""

    modality = "text"

    def __init__(
        self,
        *,
        path: Path,
        text: Column | Sequence[Column] = "text",
        label: Column = "label",
        split: Column | None = None,
        id: Column | None = None,
        group: Column | None = None,
        encoding: str = "utf-8",
        delimiter: str | None = None,
        quotes: bool | None = None,
        header: bool = True,
    ) -> None:
        """`path` is relative to the project's root. Columns go by the header's names or by number, from 0.

        `delimiter` None: a tab for .tsv, else a comma. `quotes` says whether " encloses a cell; None: not beside
        tabs (where MNLI has it within sentences, and reading it as a quote would swallow rows), else yes.
        """
        self.path = Path(path)
        self.text = [text] if isinstance(text, str | int) else list(text)
        self.label = label
        self.optional = {"split": split, "id": id, "group": group}
        self.encoding = "utf-8-sig" if encoding.lower() in {"utf-8", "utf8"} else encoding  # Excel writes a BOM
        self.delimiter = delimiter or ("\t" if self.path.suffix.lower() in TABS else ",")
        self.quotes = self.delimiter != "\t" if quotes is None else quotes
        self.header = header

    def items(self) -> Iterator[Item]:
        """Without an `id` column, an item's id is its row's number, from 0.

        Raises IceboxError for a missing file, column, label or cell, for a repeated id and for a wrong encoding.
        """
        rows = self._rows()
        if not rows:
            raise IceboxError(f"datasets: {self.path} is empty; expected rows with a text and a label")
        columns = rows[0][1]
        texts = [self._place("text", column, columns) for column in self.text]
        label = self._place("label", self.label, columns)
        places = {what: self._place(what, c, columns) for what, c in self.optional.items() if c is not None}
        lines: dict[str, int] = {}
        for number, (line, cells) in enumerate(rows[1:] if self.header else rows):
            if len(cells) != len(columns):
                raise IceboxError(
                    f"datasets: {self.path}, line {line}: expected {len(columns)} columns like the first line, "
                    f"found {len(cells)}; mind the quotes, and the delimiter, which is {self.delimiter!r}"
                )
            if not cells[label].strip():
                raise IceboxError(f"datasets: {self.path}, line {line}: column {self.label!r} is empty; add the label")
            given = {what: cells[place] for what, place in places.items()}
            item_id = given.get("id", str(number))
            if item_id in lines:
                raise IceboxError(
                    f"datasets: {self.path}, line {line}: id '{item_id}' was line {lines[item_id]}'s already; "
                    "ids must be unique; without `id`, rows are numbered"
                )
            lines[item_id] = line
            yield Item(
                item_id=item_id,
                source="\n".join(cells[place] for place in texts),
                label=cells[label],
                split=given.get("split", ""),
                group=given.get("group", ""),
            )

    def read(self, source: str) -> str:
        """The text: an item's source is the text itself."""
        return source

    def _rows(self) -> list[Row]:
        """Every row but blank ones."""
        if not self.path.is_file():
            raise IceboxError(
                f"datasets: no file {self.path}; `path` is relative to the project's root, {Path.cwd()}; "
                "put the file there or correct the path"
            )
        csv.field_size_limit(LONGEST_CELL_CHARACTERS)
        try:
            with self.path.open(encoding=self.encoding, newline="") as stream:
                reader = csv.reader(
                    stream,
                    delimiter=self.delimiter,
                    quoting=csv.QUOTE_MINIMAL if self.quotes else csv.QUOTE_NONE,
                    strict=True,  # a quote that closes before the cell ends is an error, not a guess
                )
                return [(reader.line_num, cells) for cells in reader if cells]
        except UnicodeDecodeError as error:
            raise IceboxError(
                f"datasets: {self.path} is not {self.encoding}: it holds the byte 0x{error.object[error.start]:02x}; "
                "set `encoding` to the file's own, often latin-1 or utf-16"
            ) from error
        except (LookupError, TypeError, csv.Error) as error:  # unknown encoding, delimiter of two letters, NUL
            raise IceboxError(
                f"datasets: can't read {self.path} with encoding {self.encoding!r} delimiter {self.delimiter!r}, "
                f"quotes {self.quotes}: {error}; correct them in params.yaml, or the file"
            ) from error

    def _place(self, what: str, column: Column, columns: Sequence[str]) -> int:
        """Where a column stands. `what` is the key in params.yaml that named it, `columns` the first line's cells."""
        if isinstance(column, int) and 0 <= column < len(columns):
            return column
        if self.header and isinstance(column, str) and columns.count(column) == 1:
            return columns.index(column)
        there = ", ".join(columns) if self.header else f"0 to {len(columns) - 1} (header: false, so by number)"
        raise IceboxError(
            f"datasets: {self.path} has {'two columns' if columns.count(str(column)) > 1 else 'no column'} "
            f"{column!r}, named by `{what}`; there are: {there}"
        )
