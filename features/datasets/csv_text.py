"""Texts, or pairs of texts, from a table: CSV, TSV, JSON or Parquet, one item per row."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from icebox.features.abc.dataset import Content, Dataset, Item, Pair
from icebox.features.datasets.readers.tables.columns import column_list, named_columns
from icebox.features.datasets.readers.tables.label_columns import label_columns
from icebox.features.datasets.readers.tables.table import Table
from icebox.features.datasets.readers.tables.table_files import paths_by_split
from icebox.features.datasets.readers.tables.table_items import TableItems
from icebox.features.errors import IceboxError
from icebox.features.text.cleaning import clean

Column = str | int  # a name, or a number from 0
Step = Literal["full_stop", "hashtags", "html", "links", "lower", "mentions", "repeats", "spaces"]


class Source(Dataset):
    """One item per row, in the file's order; the cells of several text columns are joined by newlines."""

    def __init__(
        self,
        *,
        path: Path | Sequence[Path] | dict[str, Path | Sequence[Path]],
        text: Column | Sequence[Column] | None = None,
        first: Column | None = None,
        second: Column | None = None,
        label: Column | list[Column] | dict[str, Column] = "label",
        drop_labels: Sequence[str | int] = (),
        split: Column | None = None,
        id: Column | None = None,
        group: Column | None = None,
        slices: Sequence[Column] = (),
        clean: Sequence[Step] = (),
        encoding: str = "utf-8",
        delimiter: str | None = None,
        quotes: bool | None = None,
        escape: str | None = None,
        header: bool = True,
    ) -> None:
        """`path` is relative to the project's root: a file, a list of files, a folder of them or a pattern such as
        `data/*.parquet`; several go by the split that each holds, `{train: …}`, or that all their names tell.

        `text` is the column of the texts (default "text"), or several columns; `first` and `second` instead make pairs.
        `label` is the column of the labels; of sets of labels (`task: multilabel`) it is several columns of 0 and 1,
        `[a, b]`, or one of joined names, `{column: labels, sep: '|'}`, or one of lists, `{column: labels}`.
        Rows whose label is one of `drop_labels` are left out ("" for rows without a label); of sets the label is.
        `slices` are columns by which results are broken down. `clean` names steps of features/text/cleaning.py.
        How files are read: features/datasets/readers/tables/table.py.
        """
        self.modality = "text" if first is None and second is None else "pair"
        self.texts = [("text", column) for column in column_list(text) or ["text"]]
        if self.modality == "pair":
            if text is not None or first is None or second is None:
                raise IceboxError("datasets: pairs of texts need both `first` and `second`, and no `text`")
            self.texts = [("first", first), ("second", second)]
        self.clean = tuple(clean)
        column, sets = label_columns(label)
        self.label_sets = sets is not None
        self.rows = TableItems(
            paths=paths_by_split(path),
            columns=named_columns(label=column, split=split, id=id, group=group),
            slices=slices,
            drop_labels=drop_labels,
            sets=sets,
            table=partial(Table, encoding=encoding, delimiter=delimiter, quotes=quotes, escape=escape, header=header),
        )

    def items(self) -> Iterator[Item]:
        """Items; an id is the cell of the `id` column or else the row's number, from 0; with several files, `SPLIT/ID`.

        Raises IceboxError for a missing file, column, label or cell, for a repeated id and for a wrong encoding.
        Rows that were dropped are noted in the account.
        """
        self.account.clear()
        return self.rows.items(self.texts, lambda cells, place: (place, self._content(cells)), self.account)

    def read(self, source: str) -> Content:
        """The cleaned text, or the pair, of the row that an item's source refers to."""
        return self._content(self.rows.cells(self.texts, source))

    def elsewhere(self, path: Path, *, labelled: bool) -> "Source | None":
        """The rows of another table with the same columns."""
        rows = self.rows.elsewhere(path, labelled=labelled)
        return self._changed(rows=rows, labelled=labelled) if rows else None

    def _content(self, cells: list[str]) -> Content:
        """The cleaned text, or the pair, of a row."""
        texts = [clean(text, self.clean) for text in cells]
        return Pair(*texts) if self.modality == "pair" else "\n".join(texts)
