"""Sets of labels in tables: a column of 0 and 1 for each label, one of joined names, or one of lists."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from icebox.features import label_sets
from icebox.features.abc.account import Account
from icebox.features.datasets.readers.dropped_labels import DroppedLabels
from icebox.features.datasets.readers.tables.cells import LIST
from icebox.features.datasets.readers.tables.columns import Column
from icebox.features.errors import IceboxError
from icebox.features.names import canonical_name, in_line

Label = Column | Sequence[Column] | Mapping[str, Column]
YES, NO = ("1", "true"), ("0", "false", "")
KEYS = ("column", "sep")


@dataclass(frozen=True)
class LabelColumns:
    """The columns of a set of labels: several of 0 and 1, or one whose cells are names joined by `sep`, or lists."""

    columns: Sequence[Column]
    sep: str | None = None
    indicators: bool = True  # whether the columns hold 0 and 1

    @property
    def requested(self) -> list[tuple[str, Column]]:
        """The columns, each with the parameter that names it."""
        return [("label" if self.indicators or self.sep is not None else LIST, column) for column in self.columns]

    def names(self, cells: Sequence[str], where: str, account: Account) -> list[str]:
        """The names in a row's cells of these columns. Raises IceboxError for what is neither 0 nor 1, or no list."""
        if self.indicators:
            return [
                str(column)
                for column, cell in zip(self.columns, cells, strict=True)
                if is_positive(cell, f"{where}: column '{column}'", account)
            ]
        if self.sep is not None:
            names = [name.strip() for name in cells[0].split(self.sep)]
        else:
            names = list_of_names(cells[0], f"{where}: column '{self.columns[0]}'")
        names = [name for name in names if name]
        if len(set(names)) < len(names):
            account.note("repeated_labels", "rows that name a label twice, counted once", where)
        return names


def label_columns(label: Label) -> tuple[Column | None, LabelColumns | None]:
    """(the column of a single label, or None; the columns of a set, or None) that the parameter `label` asks for.

    Raises IceboxError for other keys than `column` and `sep`, no column, and one that stands there twice.
    """
    if isinstance(label, str | int):
        return label, None
    if not isinstance(label, Mapping):
        columns = list(label)
        if not columns or len(set(map(str, columns))) < len(columns):
            raise IceboxError(f"datasets: label: expected different columns of 0 and 1, found {columns}")
        return None, LabelColumns(columns)
    if unknown := [key for key in label if key not in KEYS]:
        raise IceboxError(f"datasets: label: expected {{column: NAME, sep: '|'}}, found the key '{unknown[0]}'")
    sep = label.get("sep")
    if sep is not None and (not isinstance(sep, str) or not sep):
        raise IceboxError(f"datasets: label.sep: expected the text between two names, such as '|', found {sep!r}")
    return None, LabelColumns([label.get("column", "label")], sep, indicators=False)


def is_positive(cell: str, where: str, account: Account) -> bool:
    """Whether a cell of 0 and 1 says yes; a blank one says no, and is noted."""
    value = canonical_name(cell)
    if value in YES:
        return True
    if value not in NO:
        raise IceboxError(
            f"datasets: {where}: expected 0 or 1 (or true, false), found '{in_line(cell)}'; write what is uncertain as "
            "one of them, or leave such rows out"
        )
    if not value:
        account.note("blank_labels", "blank cells in columns of labels, taken as 0", where)
    return False


def list_of_names(cell: str, where: str) -> list[str]:
    """The names of a cell that holds a JSON list; a blank one holds none."""
    if not cell.strip():
        return []
    try:
        names = json.loads(cell)
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str | int | float) for name in names):
        raise IceboxError(
            f"datasets: {where}: expected a list of names, found '{in_line(cell)}'; say what stands between joined "
            "names: label: {sep: '|'}"
        )
    return [canonical_name(str(name)) if not isinstance(name, str) else name.strip() for name in names]


def without_dropped(names: Sequence[str], dropped: DroppedLabels, where: str, account: Account) -> str | None:
    """The label of a row with these names: those of `drop_labels` are taken out, and None is for a row that has none,
    where "" is among them."""
    kept = []
    for name in names:
        if dropped.drops(name):
            account.note("dropped_labels", f"labels '{in_line(name)}' taken out of their rows' sets", where)
        else:
            kept.append(name)
    if not kept and dropped.drops(""):
        account.note("dropped_rows", "rows without a label left out", where)
        return None
    return label_sets.join(kept)
