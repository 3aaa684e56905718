"""The manifest: a dataset's items in order, each with its content's sha256, label and split. It decides row order."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from icebox.features import splits
from icebox.features.manifest import tables

if TYPE_CHECKING:
    import pyarrow as pa

PARQUET, CSV = ".parquet", ".csv"
MAGIC = b"PAR1"  # the first bytes of a Parquet file
SAMPLE_ROWS = 12  # of each split
READ_ROWS = 1 << 13  # that are Python's objects at a time while rows are gone through


@dataclass(frozen=True, kw_only=True, slots=True)
class ManifestRow:
    """One line of a manifest: an Item, its content's sha256 (`item_key`), and the split it was assigned.

    `source` is a reference by which the dataset finds the content again, never the content.
    """

    item_id: str
    item_key: str
    label: str
    split: str
    group: str
    source: str
    slices: Mapping[str, str] = field(default_factory=dict)


class Manifest(Sequence[ManifestRow]):
    """The rows of a manifest, made when they are asked for, and its columns, for those that go over all of them.

    `table` has the columns that `tables` describes, each in one piece: a million rows take about 100 MB.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, table: "pa.Table") -> None:
        self.table = table

    @classmethod
    def of(cls, rows: Iterable[ManifestRow]) -> "Manifest":
        """A manifest of these rows; the same object for what is one."""
        return rows if isinstance(rows, Manifest) else cls(tables.of_blocks(blocks_of(rows)))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @overload
    def __getitem__(self, position: int) -> ManifestRow: ...
    @overload
    def __getitem__(self, position: slice) -> "Manifest": ...
    def __getitem__(self, position: int | slice) -> "ManifestRow | Manifest":
        if isinstance(position, slice):
            start, stop, step = position.indices(len(self))
            if step == 1:
                return Manifest(self.table.slice(start, max(0, stop - start)))
            return self.take(np.arange(start, stop, step))
        if not -len(self) <= position < len(self):
            raise IndexError(f"row {position} of {len(self)}")
        return next(iter(Manifest(self.table.slice(position % len(self), 1))))

    def __iter__(self) -> Iterator[ManifestRow]:
        names = self.slice_names
        for batch in self.table.to_batches(max_chunksize=READ_ROWS):
            ids, _, labels, of_split, groups, sources, *slices = (
                [] if name == "item_key" else column.to_pylist()
                for name, column in zip(batch.schema.names, batch.columns, strict=True)
            )
            keys = tables.hex_keys(batch.column("item_key"))
            by_row = zip(*slices, strict=True) if slices else ((),) * len(ids)
            columns = (ids, keys, labels, of_split, groups, sources, by_row)
            for item_id, key, label, split, group, source, values in zip(*columns, strict=True):
                yield ManifestRow(
                    item_id=item_id,
                    item_key=key,
                    label=label,
                    split=split,
                    group=group,
                    source=source,
                    slices=dict(zip(names, values, strict=True)),
                )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(own == row for own, row in zip(self, other, strict=True))

    def __repr__(self) -> str:
        return f"Manifest({dict(self.split_counts())})"

    def column(self, name: str) -> Any:
        """A column as an Arrow array; of `label`, `split`, `group` and slices a dictionary of the distinct values."""
        return tables.joined(self.table.column(name).chunks or [tables.column_of(name, [])])

    @property
    def item_ids(self) -> Any:
        """The ids (n,), an Arrow array of texts."""
        return self.column("item_id")

    @property
    def item_keys(self) -> Any:
        """The contents' sha256 (n,), an Arrow array of 32 bytes each; of texts where not all are such hashes."""
        return self.column("item_key")

    @property
    def has_whole_keys(self) -> bool:
        """Whether all keys are sha256s."""
        import pyarrow as pa

        return bool(pa.types.is_fixed_size_binary(self.table.schema.field("item_key").type))

    def key_bytes(self) -> np.ndarray:
        """The contents' sha256 (n, 32) uint8, of a row without one zeros."""
        import pyarrow.compute as pc

        column = self.item_keys
        if self.has_whole_keys:
            return tables.digest_bytes(column)
        keys = np.zeros((len(column), tables.KEY_BYTES), np.uint8)
        for position in pc.indices_nonzero(pc.not_equal(column, "")).to_pylist():
            keys[position] = np.frombuffer(bytes.fromhex(column[position].as_py()), np.uint8)
        return keys

    @property
    def sources(self) -> Any:
        """The references to the contents (n,), an Arrow array of texts."""
        return self.column("source")

    @property
    def labels(self) -> Any:
        """The labels (n,), an Arrow dictionary."""
        return self.column("label")

    @property
    def splits(self) -> Any:
        """The splits (n,), an Arrow dictionary."""
        return self.column("split")

    @property
    def groups(self) -> Any:
        """The groups (n,), an Arrow dictionary; "" for an item without one."""
        return self.column("group")

    @property
    def slice_names(self) -> list[str]:
        """The names of the slices."""
        return [name.removeprefix(tables.SLICE) for name in self.table.column_names[len(tables.COLUMNS) :]]

    def distinct(self, name: str) -> list[str]:
        """The values that a dictionary's rows have."""
        codes, values = self.codes(name)
        return [values[code] for code in np.flatnonzero(np.bincount(codes, minlength=len(values))).tolist()]

    def codes(self, name: str) -> tuple[np.ndarray, list[str]]:
        """(codes (n,) int64, the distinct values by their code) of a column that is a dictionary.

        Values that no row has may be among them.
        """
        column = self.column(name)
        return tables.numbers(column.indices).astype(np.int64), column.dictionary.to_pylist()

    def split_counts(self) -> Counter[str]:
        """{split: number of items}."""
        codes, names = self.codes("split")
        counts = np.bincount(codes, minlength=len(names)).tolist()
        return Counter({name: count for name, count in zip(names, counts, strict=True) if count})

    def positions(self, split: str) -> np.ndarray:
        """The positions (m,) of the rows of one split."""
        codes, names = self.codes("split")
        return np.flatnonzero(codes == names.index(split)) if split in names else np.empty(0, np.int64)

    def replaced(self, **columns: Any) -> "Manifest":
        """The rows with other columns in the place of those of these names."""
        table = self.table
        for name, column in columns.items():
            table = table.set_column(table.schema.get_field_index(name), name, column)
        return Manifest(table)

    def take(self, positions: Sequence[int] | np.ndarray) -> "Manifest":
        """The rows at these positions, in their order."""
        return Manifest(self.table.take(tables.of_numbers(np.asarray(positions, np.int64))))


def blocks_of(rows: Iterable[ManifestRow]) -> Iterator[tables.Cells]:
    """Rows as columns, a block at a time."""
    source = iter(rows)
    while block := list(islice(source, tables.BLOCK_ROWS)):
        names = dict.fromkeys(name for row in block for name in row.slices)
        yield {
            **{column: [getattr(row, column) for row in block] for column in tables.COLUMNS},
            **{f"{tables.SLICE}{name}": [row.slices.get(name, "") for row in block] for name in names},
        }


def write(path: Path, rows: Iterable[ManifestRow]) -> None:
    """Write the manifest as Parquet, whole or not at all, the same bytes for the same rows.

    A slice NAME is the column `slice_NAME`.
    """
    tables.write_parquet(path, Manifest.of(rows).table)


def write_sample(path: Path, manifest: Manifest) -> None:
    """Write the first rows of each split as a CSV, to be read by people."""
    order = splits.in_order(manifest.split_counts())
    of_splits = [manifest.positions(split)[:SAMPLE_ROWS] for split in order]
    table = manifest.take(np.concatenate([np.empty(0, np.int64), *of_splits])).table
    cells = {name: table.column(name).to_pylist() for name in table.column_names if name != "item_key"}
    keys = tables.hex_keys(table.column("item_key"))
    tables.write_csv(path, {name: cells.get(name, keys) for name in table.column_names})


def exists(path: Path) -> bool:
    """Whether there is a manifest for `read`."""
    return file_at(path) is not None


def read(path: Path) -> Manifest:
    """The manifest in a file; where there is none, that in the CSV beside it, which Icebox 0.1 wrote.

    Raises IceboxError for a file that is missing or no whole manifest.
    """
    file = file_at(path)
    if file is None:
        raise tables.damaged(path, "no file")
    if file.suffix != PARQUET:
        with file.open("rb") as stream:
            if stream.read(len(MAGIC)) != MAGIC:
                return Manifest(tables.read_csv(file))
    return Manifest(tables.read_parquet(file))


def file_at(path: Path) -> Path | None:
    """The file that holds the manifest of this path."""
    older = path.with_suffix(CSV)
    return path if path.is_file() else older if path.suffix == PARQUET and older.is_file() else None
