"""Export a store for other programs: .npz, .parquet, or .npy and a CSV; piece by piece, and whole or not at all.

An export replaces an earlier one of its name, and no other file: archives and tables bear a mark, and an array is known
by the CSV of its rows, which is there whenever the array is.
"""

import csv
import logging
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from icebox.features import files
from icebox.features.errors import IceboxError
from icebox.features.ragged import Ragged, Values, flat, offsets_of
from icebox.features.store.feature_store import FeatureStore

logger = logging.getLogger("icebox")

PIECE_ITEMS = 4096
COLUMNS = ("item_id", "label", "split")
ROWS_HEADER = ",".join(f'"{column}"' for column in COLUMNS)
ROWS_SUFFIX = ".rows.csv"  # X.csv beside X.npy may well be the raw data
MARK = b"icebox export"  # an archive's comment, and a key of a table's metadata


@dataclass(frozen=True)
class ExportedRows:
    """The part of a store that is exported: items (positions in its manifest) and outputs, in one view."""

    store: FeatureStore
    items: np.ndarray
    outputs: list[str]
    view: str

    def pieces(self, output: str) -> Iterator[Values]:
        """The rows of an output, a few thousand at a time."""
        read = self.store.ragged_rows if self.store.is_ragged(output) else self.store.rows
        for start in range(0, len(self.items), PIECE_ITEMS):
            yield read(self.items[start : start + PIECE_ITEMS], output, view=self.view)

    def columns(self, part: slice = slice(None)) -> list[np.ndarray[Any, Any]]:
        """Ids, labels and splits (n,) as fixed-width text, which numpy writes without pickling."""
        store, items = self.store, self.items[part]
        return [values[items].astype(str) for values in (store.item_ids, store.labels, store.splits)]


def export(
    store: FeatureStore,
    to: Path,
    *,
    split: str | None = None,
    outputs: Sequence[str] | None = None,
    view: str | None = None,
) -> None:
    """Write one view (by default the first) of all items or one split's to `to`, with their ids, labels and splits.

    .npz: an array an output and one each for item_id, label, split; of tokens' vectors OUTPUT.offsets says where each
    item's begin. .parquet: a column each. .npy: one output, which `np.load(…, mmap_mode="r")` maps; its ids, labels and
    splits go into NAME.rows.csv beside it. Raises IceboxError where one of these names is another file's.
    """
    writers = {".npz": write_npz, ".parquet": write_parquet, ".npy": write_npy}
    if to.suffix not in writers:
        raise IceboxError(f"{to}: expected a name that ends in {', '.join(writers)}")
    refuse_to_replace(to)
    exported = ExportedRows(store, store.items(split), list(outputs or store.outputs), view or store.views[0])
    writers[to.suffix](exported, to)
    logger.info("%s: %s items, %s MB", to, f"{len(exported.items):,}", f"{to.stat().st_size / 1e6:,.1f}")
    if store.has_targets:
        kind = "mask" if store.targets.task == "segmentation" else "boxes"
        logger.info("%s: label is the sha256 of a picture's %s, which stay in %s", to, kind, store.targets.path)


def refuse_to_replace(to: Path) -> None:
    """Raise IceboxError where a file that an export would write is there and not from an export of that name."""
    rows = to.with_suffix(ROWS_SUFFIX)
    known = {".npz": is_archive, ".parquet": is_table, ".npy": lambda path: is_rows(rows)}
    written = {to: known[to.suffix]} | ({rows: is_rows} if to.suffix == ".npy" else {})
    for path, is_export in written.items():
        if files.exists(path) and not (path.is_file() and is_export(path)):
            raise IceboxError(
                f"{path}: expected nothing there, or an earlier export of that name, found something else; "
                "choose another name, or move it away"
            )


def is_archive(path: Path) -> bool:
    """Whether an .npz is an export."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.comment == MARK
    except (zipfile.BadZipFile, OSError):
        return False


def is_table(path: Path) -> bool:
    """Whether a .parquet is an export."""
    import pyarrow as pa
    from pyarrow import parquet as pq

    try:
        return MARK in (pq.read_schema(path).metadata or {})
    except (pa.ArrowException, OSError):
        return False


def is_rows(path: Path) -> bool:
    """Whether a CSV is that of an exported array's rows."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(ROWS_HEADER) + 1) == f"{ROWS_HEADER}\n".encode()
    except OSError:
        return False


def write_npz(exported: ExportedRows, to: Path) -> None:
    """An uncompressed archive of .npy files."""
    with files.replacing(to) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.comment = MARK
        for column, values in zip(COLUMNS, exported.columns(), strict=True):
            with archive.open(f"{column}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, values, allow_pickle=False)
        for output in exported.outputs:
            with archive.open(f"{output}.npy", "w", force_zip64=True) as stream:
                write_array(stream, exported, output)
            if exported.store.is_ragged(output):
                counts = exported.store.token_counts(exported.items, output, view=exported.view)
                with archive.open(f"{output}.offsets.npy", "w", force_zip64=True) as stream:
                    np.lib.format.write_array(stream, offsets_of(counts), allow_pickle=False)


def write_npy(exported: ExportedRows, to: Path) -> None:
    """One array, and a CSV with the id, label and split of each of its rows."""
    if len(exported.outputs) != 1:
        raise IceboxError(
            f"{to}: .npy holds one output, the store has several; add --output with {' or '.join(exported.outputs)}"
        )
    if exported.store.is_ragged(exported.outputs[0]):
        raise IceboxError(f"{to}: '{exported.outputs[0]}' has a vector a token, not one an item; use .npz or .parquet")
    with files.replacing_together(to.with_suffix(ROWS_SUFFIX), to) as (rows_path, array_path):
        with rows_path.open("w", newline="", encoding="utf-8") as rows:
            rows.write(f"{ROWS_HEADER}\n")
            writer = csv.writer(rows, lineterminator="\n", quoting=csv.QUOTE_ALL)  # else a lone "\r" would be lost
            writer.writerows(zip(*(values.tolist() for values in exported.columns()), strict=True))
        # Written, not mapped: running out of disk under a memory map kills the process instead of raising.
        with array_path.open("wb") as stream:
            write_array(stream, exported, exported.outputs[0])


def write_parquet(exported: ExportedRows, to: Path) -> None:
    """A table. A feature is a list of fixed length, flattened, with its shape in the column's metadata; one vector a
    token, a list of such lists.
    """
    import pyarrow as pa
    from pyarrow import parquet as pq

    fields = [pa.field(column, pa.string()) for column in COLUMNS]
    store = exported.store
    for output in exported.outputs:
        shape = store.row_shape(output)
        kind = pa.list_(pa.from_numpy_dtype(store.dtype(output)), int(np.prod(shape)))
        kind = pa.large_list(kind) if store.is_ragged(output) else kind
        fields.append(pa.field(output, kind, metadata={"shape": ",".join(map(str, shape))}))
    schema = pa.schema(fields, metadata={MARK: b""})
    with files.replacing(to) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        starts = range(0, len(exported.items), PIECE_ITEMS)
        for start, *piece in zip(starts, *map(exported.pieces, exported.outputs), strict=True):
            columns = exported.columns(slice(start, start + PIECE_ITEMS))
            arrays = [pa.array(values.tolist(), pa.string()) for values in columns]
            for field, rows in zip(fields[len(COLUMNS) :], piece, strict=True):
                numbers = pa.array(flat(rows).reshape(-1))
                if isinstance(rows, Ragged):
                    vectors = pa.FixedSizeListArray.from_arrays(numbers, type=field.type.value_type)
                    arrays.append(pa.LargeListArray.from_arrays(rows.offsets, vectors, type=field.type))
                else:
                    arrays.append(pa.FixedSizeListArray.from_arrays(numbers, type=field.type))
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def write_array(stream: IO[bytes], exported: ExportedRows, output: str) -> None:
    """One output as numpy's .npy format, a piece at a time."""
    rows = len(exported.items)
    if exported.store.is_ragged(output):
        rows = int(exported.store.token_counts(exported.items, output, view=exported.view).sum())
    header = {
        "descr": np.lib.format.dtype_to_descr(exported.store.dtype(output)),
        "fortran_order": False,
        "shape": (rows, *exported.store.row_shape(output)),
    }
    np.lib.format.write_array_header_1_0(stream, header)
    for piece in exported.pieces(output):
        stream.write(flat(piece).tobytes())
