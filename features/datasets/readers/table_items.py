"""Items from the rows of tables: which column is the label, which the group, and what a repeated id means."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from icebox.features.abc.dataset import Item
from icebox.features.datasets.readers.tables import Column, Row, Table
from icebox.features.errors import IceboxError
from icebox.features.splits import canonical_split_name


def by_split(path: Path | Mapping[str, Path]) -> dict[str, Path]:
    """One file, under "", or several under the names of the splits that they hold."""
    return {name: Path(file) for name, file in (path.items() if isinstance(path, Mapping) else [("", path)])}


@dataclass(frozen=True, kw_only=True)
class TableItems:
    """One item a row, in the order of the files and of their rows.

    `columns` go by what they are: label, and where wanted split, id, group. `slices` are columns to look at results by.
    Rows whose label is one of `drop_labels` are left out.
    """

    paths: Mapping[str, Path]  # by the split that each holds; "" where a column says, or nothing
    columns: Mapping[str, Column]
    slices: Sequence[Column]
    drop_labels: Sequence[str | int]
    table: Callable[..., Table]  # how each file is read

    def items(
        self,
        contents: Sequence[tuple[str, Column]],
        source: Callable[[list[str]], str],
        *,
        named_by_source: bool = False,
    ) -> Iterator[Item]:
        """`source` makes Item.source from the cells of the `contents` columns, each paired with its parameter's name.

        An item's id is its `id` cell, or else its source (`named_by_source`) or its row's number, from 0; where there
        are several files, behind its split's name. Raises IceboxError for a missing label and a repeated id, and as
        Table does. Says on stderr how many rows were dropped.
        """
        seen: dict[str, str] = {}
        dropped: Counter[str] = Counter()
        unwanted = {str(label) for label in self.drop_labels}
        wanted = [*self.columns.items(), *(("slices", column) for column in self.slices), *contents]
        for part, path in self.paths.items():
            for number, row in enumerate(self.table(path=path).rows(wanted)):
                own = dict(zip(self.columns, row.cells, strict=False))  # slices and contents come behind
                label = own["label"].strip()
                if label in unwanted:
                    dropped[label] += 1
                    continue
                if not label:
                    raise IceboxError(
                        f"datasets: {row.where}: column {self.columns['label']!r} is empty; add the label, "
                        "or leave such rows out with `drop_labels: ['']`"
                    )
                at = source(row.cells[-len(contents) :])
                yield Item(
                    item_id=new_id(own.get("id", at if named_by_source else str(number)), part, row, seen),
                    source=at,
                    label=label,
                    split=part or canonical_split_name(own.get("split", "")),
                    group=own.get("group", ""),
                    slices=dict(zip(map(str, self.slices), row.cells[len(own) :], strict=False)),
                )
        for label, count in dropped.items():
            files = ", ".join(map(str, self.paths.values()))
            print(f"{files}: left out {count:,} row{'s' * (count > 1)} whose label is '{label}'", file=sys.stderr)


def new_id(given: str, part: str, row: Row, seen: dict[str, str]) -> str:
    """The item's id, noted in `seen` with its place. Raises IceboxError for one that another row has."""
    item_id = f"{part}/{given}" if part else given
    if item_id in seen:
        raise IceboxError(
            f"datasets: {row.where}: id '{item_id}' was {seen[item_id]}'s already; "
            "ids must be unique; without `id`, rows of texts are numbered, and images go by their path"
        )
    seen[item_id] = row.where.rpartition(", ")[2]
    return item_id


def chosen(**columns: Column | None) -> dict[str, Column]:
    """Those columns that were named."""
    return {key: column for key, column in columns.items() if column is not None}
