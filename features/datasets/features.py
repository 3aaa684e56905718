"""Features made elsewhere: vectors from a tool, a simulation or another network, one a row, in arrays or a table."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from icebox.features import label_sets
from icebox.features.abc.dataset import Content, Dataset, Item, Modality
from icebox.features.buckets.path import place
from icebox.features.datasets.readers.npy import read_column, read_npy
from icebox.features.datasets.readers.npz import array_names, read_arrays
from icebox.features.datasets.readers.tables import parquet_rows
from icebox.features.datasets.readers.tables.cells import as_text
from icebox.features.datasets.readers.tables.label_columns import LabelColumns, label_columns
from icebox.features.errors import IceboxError
from icebox.features.splits import canonical_split_name

SUFFIXES = (".npz", ".npy", ".parquet")
Part = Mapping[str, np.ndarray]  # `x` (n, d), and those there are of `y`, `split`, `ids` and `groups`, (n,) each


class Source(Dataset):
    """One item a row of `x`: a vector of d numbers, with a label or (`task: regression`) a number to predict.

    `path` is an .npz, .npy or .parquet file, or one for each split ({train: …, test: …}). Of an .npz, `x`, `y`,
    `split`, `ids` and `groups` are names of arrays, of Parquet names of columns; `x` is there a column of lists, or
    else all columns of numbers that have no other name here. An .npy holds the vectors alone: their `labels` are an
    .npy of its own, or a text file of one a line. All but the vectors and the labels may be missing.

    Sets of labels (`task: multilabel`): `y` is a list of columns or arrays of 0 and 1, or an array (n, k) of them whose
    columns `classes` names, or texts that are names joined by `sep`.
    """

    modality: Modality = "sequence"

    def __init__(
        self,
        *,
        path: Path | dict[str, Path],
        labels: Path | dict[str, Path] | None = None,
        x: str = "X",
        y: str | list[str] = "y",
        classes: list[str] | None = None,
        sep: str | None = None,
        split: str = "split",
        ids: str = "ids",
        groups: str = "groups",
    ) -> None:
        self.path, self.labels = path, labels
        self.names = {"x": x, "split": split, "ids": ids, "groups": groups}
        if isinstance(y, str):
            self.names["y"] = y
        self.sets = sets_of(y, classes, sep)
        self.label_sets = self.sets is not None

    def items(self) -> Iterator[Item]:
        """The rows in their order, by the id of `ids`, or else by their number, after the split of a file of its own.

        Raises IceboxError for a file that is missing, of another kind or damaged, and for arrays that do not fit.
        """
        for part, arrays in self._parts.items():
            n = len(arrays["x"])
            columns = {name: self._texts(arrays.get(name), name, n, part) for name in ("split", "ids", "groups")}
            labels = self._labels(arrays.get("y"), n, part)
            if self.labelled and labels is None:
                raise IceboxError(
                    f"datasets: {self._file(part)}: found no '{self.names.get('y', 'y')}'; name the labels by `y`, "
                    "or give their file by `labels`"
                )
            splits, ids, groups = columns.values()
            for row in range(n):
                yield Item(
                    item_id=ids[row] if ids else f"{part}/{row}" if part else str(row),
                    source=f"{part}/{row}",
                    label=labels[row] if labels and self.labelled else "",
                    split=canonical_split_name(part or (splits[row] if splits else "")),
                    group=groups[row] if groups else "",
                )

    def read(self, source: str) -> Content:
        """A vector, as a sequence of one step: float32 (1, d)."""
        part, _, row = source.rpartition("/")
        vectors = self._parts.get(part, {"x": np.empty((0, 0))})["x"]
        if not row.isdecimal() or int(row) >= len(vectors):
            raise IceboxError(f"datasets: {self._file(part)} has no row '{source}'")
        vector: np.ndarray = vectors[int(row)][None].astype(np.float32)
        return vector

    def elsewhere(self, path: Path, *, labelled: bool) -> "Source | None":
        """The vectors of another file; without labels it needs no `y`."""
        if path.suffix.lower() not in SUFFIXES:
            return None
        return self._changed(path=path, labels=None, labelled=labelled)

    def _file(self, part: str) -> Path:
        return place(self.path[part] if isinstance(self.path, Mapping) else self.path)

    @cached_property
    def _parts(self) -> dict[str, Part]:
        """{split, or "": arrays}; all vectors have one length."""
        parts = self.path if isinstance(self.path, Mapping) else {"": self.path}
        labels = self.labels if isinstance(self.labels, Mapping) else {"": self.labels}
        read = {part: self._read(place(path), labels.get(part)) for part, path in parts.items()}
        if len(widths := {arrays["x"].shape[1] for arrays in read.values()}) > 1:
            raise IceboxError(f"datasets: {self.path}: vectors of different lengths: {sorted(widths)}")
        return read

    def _read(self, path: Path, labels: Path | None) -> Part:
        """The arrays of one file, under our names."""
        kind = path.suffix.lower()
        if kind == ".parquet":
            arrays = self._table(path)
        elif kind == ".npy":
            arrays = {"x": read_npy(path)}
        elif kind == ".npz":
            wanted = [*self.names.values(), *self._indicators]
            stored = read_arrays(path, wanted, f"arrays {', '.join(wanted)}")
            arrays = {ours: stored[name] for ours, name in self.names.items() if name in stored}
            if self._indicators:
                arrays |= self._stacked(path, stored)
        else:
            raise IceboxError(f"datasets: {path}: expected one of {', '.join(SUFFIXES)}, found '{path.suffix}'")
        if "x" not in arrays:
            there = ", ".join(array_names(path, "vectors")[:20])
            raise IceboxError(f"datasets: {path}: no array '{self.names['x']}'; `x` names it; there are: {there}")
        if labels is not None:
            arrays["y"] = read_column(place(labels))
        vectors = arrays["x"]
        if vectors.ndim != 2 or vectors.dtype.kind not in "fiub" or not vectors.size:
            raise IceboxError(
                f"datasets: {path}: {self.names['x']}: expected numbers (n, d), found {vectors.dtype} {vectors.shape}"
            )
        bad = np.flatnonzero(~np.isfinite(vectors.astype(np.float32)).all(1))
        if len(bad):
            raise IceboxError(
                f"datasets: {path}: {len(bad)} rows hold numbers that are not finite (or beyond float32), first row "
                f"{bad[0]}; fill them in, or leave these rows out"
            )
        return arrays

    def _table(self, path: Path) -> dict[str, np.ndarray]:
        """Columns of a Parquet file."""
        import pyarrow

        with parquet_rows.damage_explained(path):
            table = parquet_rows.open_file(path).read()
            columns = {name: table.column(name) for name in table.column_names}
            arrays = {
                ours: np.array(columns[name].to_pylist(), object)
                for ours, name in self.names.items()
                if ours != "x" and name in columns
            }
            if self._indicators:
                arrays |= self._stacked(path, {n: np.array(c.to_pylist(), object) for n, c in columns.items()})
            if self.names["x"] in columns:
                arrays["x"] = np.array(columns[self.names["x"]].to_pylist(), np.float64)
                return arrays
            others = [name for name in columns if name not in (*self.names.values(), *self._indicators)]
            kinds = {name: columns[name].type for name in others}
            numbers = [n for n in others if pyarrow.types.is_integer(kinds[n]) or pyarrow.types.is_floating(kinds[n])]
            if left := [name for name in others if name not in numbers]:
                self.account.note("passed_over", "columns that hold no numbers, passed over", ", ".join(left))
            if not numbers:
                raise IceboxError(
                    f"datasets: {path}: no column '{self.names['x']}' and none of numbers; "
                    f"there are: {', '.join(columns)}"
                )
            arrays["x"] = np.stack([columns[name].to_numpy() for name in numbers], axis=1).astype(np.float64)
            return arrays

    @property
    def _indicators(self) -> list[str]:
        """The columns or arrays of 0 and 1 that `y` lists; none where it is a single one."""
        return [str(column) for column in self.sets.columns] if self.sets and "y" not in self.names else []

    def _stacked(self, path: Path, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The columns of 0 and 1 side by side, as `y` (n, k); nothing of items without labels."""
        if not self.labelled:
            return {}
        if missing := [name for name in self._indicators if name not in columns]:
            there = ", ".join([*columns][:20])
            raise IceboxError(f"datasets: {path}: no column '{missing[0]}', named by `y`; there are: {there}")
        return {"y": np.stack([columns[name].reshape(-1) for name in self._indicators], axis=1)}

    def _labels(self, values: np.ndarray | None, n: int, part: str) -> list[str] | None:
        """The labels as text, sets as `features.label_sets` writes them; None where there are none."""
        if self.sets is None or values is None:
            return self._texts(values, "y", n, part)
        place, k = self._file(part), len(self.sets.columns)
        columns = values.reshape(n, -1) if values.size and len(values) == n else values
        if columns.shape != (n, k):
            raise IceboxError(
                f"datasets: {place}: y: expected {n} rows of {k} columns ({', '.join(map(str, self.sets.columns))}), "
                f"found {values.shape}"
            )
        rows = [f"{place}, row {row}" for row in range(n)]
        return [
            label_sets.join(self.sets.names([as_text(cell, row, "y") for cell in cells], row, self.account))
            for row, cells in zip(rows, columns.tolist(), strict=True)
        ]

    def _texts(self, values: np.ndarray | None, name: str, n: int, part: str) -> list[str] | None:
        """A column of one value a row as text; None where there is none."""
        if values is None:
            return None
        flat: np.ndarray = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
        place = self._file(part)
        if flat.shape != (n,):
            raise IceboxError(
                f"datasets: {place}: {self.names[name]}: expected {n} values, one a row of "
                f"{self.names['x']}, found {values.shape}"
            )
        listed: list[Any] = flat.tolist()
        return [as_text(value, f"{place}, row {row}", self.names[name]) for row, value in enumerate(listed)]


def sets_of(y: str | list[str], classes: list[str] | None, sep: str | None) -> LabelColumns | None:
    """How the labels are sets; None where each item has one."""
    if sum((not isinstance(y, str), classes is not None, sep is not None)) > 1:
        raise IceboxError("datasets: expected a list as `y`, or `classes`, or `sep`, and only one of these")
    if sep is not None:
        return label_columns({"column": "y", "sep": sep})[1]
    listed = classes if isinstance(y, str) else y
    return None if listed is None else label_columns(listed)[1]
