"""Items from the rows of tables: columns to label, split, id, group and slices; ids are checked to be unique."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from icebox.features.abc.dataset import Item
from icebox.features.datasets.readers.tables import Column, Table, TableRow
from icebox.features.errors import IceboxError
from icebox.features.splits import canonical_split_name


def paths_by_split(path: Path | Mapping[str, Path]) -> dict[str, Path]:
    """{split: file}; a single file has the key ""."""
    return {name: Path(file) for name, file in (path.items() if isinstance(path, Mapping) else [("", path)])}


@dataclass(frozen=True, kw_only=True)
class TableItems:
    """One item per row, in the order of the files and of their rows.

    The keys of `columns` are label and, optionally, split, id, group. `slices` are columns by which results are broken
    down. Rows whose label is one of `drop_labels` are left out.
    """

    paths: Mapping[str, Path]  # {split: file}; the key is "" where a column names the split, or nothing does
    columns: Mapping[str, Column]
    slices: Sequence[Column]
    drop_labels: Sequence[str | int]
    table: Callable[..., Table]  # path → Table, with the options by which each file is read

    def items(
        self,
        contents: Sequence[tuple[str, Column]],
        source: Callable[[list[str]], str],
        *,
        named_by_source: bool = False,
    ) -> Iterator[Item]:
        """Items, their source made by `source` from the cells of the `contents` columns.

        `contents` pairs the name of the parameter with its column. An item's id is its `id` cell, or else its source
        (with `named_by_source`) or its row's number, from 0; with several files, the split's name precedes it. Raises
        IceboxError for a missing label and a repeated id, and as Table does. Prints to stderr how many rows were
        dropped.
        """
        lines_by_id: dict[str, str] = {}
        dropped: Counter[str] = Counter()
        drop_labels = {str(label) for label in self.drop_labels}
        columns = [*self.columns.items(), *(("slices", column) for column in self.slices), *contents]
        for split, path in self.paths.items():
            for number, row in enumerate(self.table(path=path).rows(columns)):
                cells = dict(zip(self.columns, row.cells, strict=False))  # cells of slices and contents follow these
                label = cells["label"].strip()
                if label in drop_labels:
                    dropped[label] += 1
                    continue
                if not label:
                    raise IceboxError(
                        f"datasets: {row.where}: column {self.columns['label']!r} is empty; add the label, "
                        "or leave such rows out with `drop_labels: ['']`"
                    )
                item_source = source(row.cells[-len(contents) :])
                name = cells.get("id", item_source if named_by_source else str(number))
                yield Item(
                    item_id=unique_id(name, split, row, lines_by_id),
                    source=item_source,
                    label=label,
                    split=split or canonical_split_name(cells.get("split", "")),
                    group=cells.get("group", ""),
                    slices=dict(zip(map(str, self.slices), row.cells[len(cells) :], strict=False)),
                )
        for label, count in dropped.items():
            files = ", ".join(map(str, self.paths.values()))
            print(f"{files}: left out {count:,} row{'s' * (count > 1)} whose label is '{label}'", file=sys.stderr)


def unique_id(name: str, split: str, row: TableRow, lines_by_id: dict[str, str]) -> str:
    """The item's id, which is added to `lines_by_id`. Raises IceboxError for an id that another row has."""
    item_id = f"{split}/{name}" if split else name
    if item_id in lines_by_id:
        raise IceboxError(
            f"datasets: {row.where}: id '{item_id}' was {lines_by_id[item_id]}'s already; "
            "ids must be unique; without `id`, rows of texts are numbered, and images go by their path"
        )
    lines_by_id[item_id] = row.where.rpartition(", ")[2]
    return item_id


def named_columns(**columns: Column | None) -> dict[str, Column]:
    """The columns that are not None."""
    return {key: column for key, column in columns.items() if column is not None}
