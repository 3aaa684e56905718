"""Items from the rows of tables: columns to label, split, id, group and slices; ids are checked to be unique."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from icebox.features.abc.account import Account
from icebox.features.abc.dataset import Content, Item
from icebox.features.datasets.readers.dropped_labels import DroppedLabels, note_dropped
from icebox.features.datasets.readers.tables.columns import Column, TableRow
from icebox.features.datasets.readers.tables.label_columns import LabelColumns, without_dropped
from icebox.features.datasets.readers.tables.parquet_rows import reference
from icebox.features.datasets.readers.tables.table import Table, has_table_ending, path_name, reference_to, referred
from icebox.features.datasets.readers.tables.table_files import table_files
from icebox.features.errors import IceboxError
from icebox.features.names import canonical_name, in_line
from icebox.features.splits import canonical_split_name


@dataclass(frozen=True, kw_only=True)
class TableItems:
    """One item per row, in the order of the files and of their rows.

    The keys of `columns` are label (absent where items need none) and, optionally, split, id, group. `slices` are
    columns by which results are broken down. Rows whose label is one of `drop_labels` are left out. `sets` are the
    columns of sets of labels, in place of label; `drop_labels` are then taken out of the sets, and "" leaves out rows
    without a label.
    """

    paths: Mapping[str, Sequence[Path]]  # {split: files, folders or patterns}
    columns: Mapping[str, Column]
    slices: Sequence[Column]
    drop_labels: Sequence[str | int]
    table: Callable[..., Table]  # path → Table, with the options by which each file is read
    sets: LabelColumns | None = None
    further: bool = False  # whether the rows are others than the dataset's own, where no label to drop need be

    def items(
        self,
        contents: Sequence[tuple[str, Column]],
        source: Callable[[list[str], str], tuple[str, Content | None]],
        account: Account,
        *,
        named_by_source: bool = False,
    ) -> Iterator[Item]:
        """Items; `source` makes their source from the cells of the `contents` columns and the row's reference.

        It also gives the content, where that is at hand.
        `contents` pairs the name of the parameter with its column. An item's id is its `id` cell, or else its first
        content (with `named_by_source`) or its row's number, from 0; with several splits, the split's name precedes it.
        Raises IceboxError for a missing label, a repeated id and a label to drop that no row has, and as Table does.
        Rows that are left out are noted in `account`.
        """
        places_by_id: dict[str, str] = {}
        dropped_labels = DroppedLabels(self.drop_labels)
        of_sets = self.sets.requested if self.sets else []
        columns = [*self.columns.items(), *(("slices", column) for column in self.slices), *of_sets, *contents]
        needs_label = "label" in self.columns or self.sets is not None
        counted = needs_label and "id" not in self.columns and not named_by_source  # numbers are unique
        for split, number, row, place in self._rows(columns, account):
            cells = dict(zip(self.columns, row.cells, strict=False))  # cells of slices and contents follow these
            label = cells.get("label", "").strip()
            if self.sets:
                names = self.sets.names(row.cells[-len(of_sets) - len(contents) : -len(contents)], row.where, account)
                kept = without_dropped(names, dropped_labels, row.where, account)
                if kept is None:
                    continue
                label = kept
            elif "label" in cells and dropped_labels.drops(label):
                note_dropped(account, label, row.where)
                continue
            if not label and "label" in cells:
                raise IceboxError(
                    f"datasets: {row.where}: column {self.columns['label']!r} is empty; add the label, "
                    "or leave such rows out with `drop_labels: ['']`"
                )
            own = row.cells[-len(contents) :]
            named = named_by_source and reference(own[0]) is None
            name = cells.get("id", own[0].strip() if named else str(number))
            try:
                made, content = source(own, place)
            except IceboxError as error:
                raise error.at(f"datasets: {row.where}") from error
            if counted:
                name = f"{split}/{name}" if split else name
            elif needs_label:
                name = unique_id(name, split, row, places_by_id)
            yield Item(
                item_id=name,
                source=made,
                label=label,
                split=split or canonical_split_name(cells.get("split", "")),
                group=cells.get("group", ""),
                slices=dict(zip(map(str, self.slices), row.cells[len(cells) :], strict=False)),
                content=content,
            )
        if not self.further:
            dropped_labels.conclude()

    def cells(self, contents: Sequence[tuple[str, Column]], source: str) -> list[str]:
        """The cells of the `contents` columns in the row that a reference names.

        Raises IceboxError for a reference to another file, or to no row of it.
        """
        place = referred(source)
        table = self._by_name.get(place[0]) if place else None
        if table is None or place is None:
            raise IceboxError(
                f"datasets: '{in_line(source)}' refers to no row of the tables; do their paths still stand in `path`?",
                hint="make the manifest again",
            )
        return table.cells(contents, place[1])

    @cached_property
    def _by_name(self) -> dict[str, Table]:
        """{name in references: table} of the files."""
        files = [path for paths in self.files(Account()).values() for path in paths]
        return {path_name(path): self.table(path=path) for path in files}

    def files(self, account: Account) -> dict[str, list[Path]]:
        """{split: files}; the key is "" where a column names the split, or nothing does."""
        return table_files(self.paths, account, by_name="split" not in self.columns and not self.further)

    def elsewhere(self, path: Path, *, labelled: bool) -> "TableItems | None":
        """The rows of another table, or None for a file that is none by its ending, and by those of these tables.

        Columns for ids and groups are read where it has them. Without labels, ids may repeat.
        """
        own = {each.suffix for paths in self.paths.values() for each in paths}
        if path.is_dir() or not (has_table_ending(path) or path.suffix in own):
            return None
        table = self.table(path=path)
        optional = ("id", "group") if labelled else ("id",)
        columns = {
            key: column
            for key, column in self.columns.items()
            if (key == "label" and labelled) or (key in optional and table.has(column))
        }
        sets = self.sets if labelled else None
        return replace(self, paths={"": [path]}, columns=columns, slices=(), sets=sets, further=True)

    def _rows(
        self, columns: Sequence[tuple[str, Column]], account: Account
    ) -> Iterator[tuple[str, int, TableRow, str]]:
        """(split, the row's number in the split, row, the reference to it) of all files."""
        for split, paths in self.files(account).items():
            number = 0
            for path in paths:
                name = path_name(path)
                for in_file, row in enumerate(self.table(path=path).rows(columns, account)):
                    yield split, number, row, reference_to(row, in_file, name)
                    number += 1


def unique_id(name: str, split: str, row: TableRow, places_by_id: dict[str, str]) -> str:
    """The item's id, which is added to `places_by_id`. Raises IceboxError for an id that another row has."""
    item_id = f"{split}/{name}" if split else name
    key = f"{split}/{canonical_name(name)}"
    if key in places_by_id:
        raise IceboxError(
            f"datasets: {row.where}: id '{in_line(item_id)}' was {places_by_id[key]}'s already; "
            "ids must be unique; without `id`, rows of texts are numbered, and images go by their path"
        )
    places_by_id[key] = row.where.rpartition(", ")[2]
    return item_id
