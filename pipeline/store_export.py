"""Write a store for other programs: .npz, .parquet, or .npy and a CSV. Piece by piece, and whole or not at all."""

import csv
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from features import atomic
from features.errors import IceboxError
from features.store import FeatureStore

PIECE_ITEMS = 4096
COLUMNS = ("item_id", "label", "split")


def export(store: FeatureStore, to: Path, *, split: str | None = None, outputs: Sequence[str] | None = None) -> None:
    """Write the features of all items or one split's to `to`, with their ids, labels and splits.

    .npz: an array an output and one each for item_id, label, split. .parquet: a column each. .npy: one output, which
    `np.load(…, mmap_mode="r")` maps; its ids, labels and splits go into a CSV of the same name.
    """
    writers = {".npz": npz, ".parquet": parquet, ".npy": npy}
    if to.suffix not in writers:
        raise IceboxError(f"{to}: expected a name that ends in {', '.join(writers)}")
    items = store.items(split)
    writers[to.suffix](store, items, list(outputs or store.outputs), to)
    print(f"{to}: {len(items):,} items, {to.stat().st_size / 1e6:,.1f} MB")


def npz(store: FeatureStore, items: np.ndarray, outputs: list[str], to: Path) -> None:
    """An uncompressed archive of .npy files."""
    with atomic.replacing(to) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for column, values in zip(COLUMNS, columns(store, items), strict=True):
            with archive.open(f"{column}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, values, allow_pickle=False)
        for output in outputs:
            with archive.open(f"{output}.npy", "w", force_zip64=True) as stream:
                write_array(stream, store, items, output)


def npy(store: FeatureStore, items: np.ndarray, outputs: list[str], to: Path) -> None:
    """One array, and a CSV of what its rows are."""
    if len(outputs) != 1:
        raise IceboxError(
            f"{to}: .npy holds one output, the store has several; add --output with {' or '.join(outputs)}"
        )
    with (
        atomic.replacing(to.with_suffix(".csv")) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as rows,
    ):
        writer = csv.writer(rows, lineterminator="\n", quoting=csv.QUOTE_ALL)  # else a lone "\r" would be lost
        writer.writerow(COLUMNS)
        writer.writerows(zip(*(values.tolist() for values in columns(store, items)), strict=True))
    # Written, not mapped: running out of disk under a memory map kills the process instead of raising.
    with atomic.replacing(to) as temporary, temporary.open("wb") as stream:
        write_array(stream, store, items, outputs[0])


def parquet(store: FeatureStore, items: np.ndarray, outputs: list[str], to: Path) -> None:
    """A table; a feature is a list of fixed length, flattened, its shape in the column's metadata."""
    import pyarrow as pa
    from pyarrow import parquet as pq

    fields = [pa.field(column, pa.string()) for column in COLUMNS]
    for output in outputs:
        shape = store.row_shape(output)
        kind = pa.list_(pa.from_numpy_dtype(store.dtype(output)), int(np.prod(shape)))
        fields.append(pa.field(output, kind, metadata={"shape": ",".join(map(str, shape))}))
    schema = pa.schema(fields)
    with atomic.replacing(to) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for start in range(0, len(items), PIECE_ITEMS):
            part = items[start : start + PIECE_ITEMS]
            arrays = [pa.array(values.tolist(), pa.string()) for values in columns(store, part)]
            for field, output in zip(fields[len(COLUMNS) :], outputs, strict=True):
                flat = pa.array(store.rows(part, output).reshape(-1))
                arrays.append(pa.FixedSizeListArray.from_arrays(flat, type=field.type))
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def write_array(stream: IO[bytes], store: FeatureStore, items: np.ndarray, output: str) -> None:
    """One output as numpy's .npy format, a piece at a time."""
    header = {
        "descr": np.lib.format.dtype_to_descr(store.dtype(output)),
        "fortran_order": False,
        "shape": (len(items), *store.row_shape(output)),
    }
    np.lib.format.write_array_header_1_0(stream, header)
    for piece in pieces(store, items, output):
        stream.write(piece.tobytes())


def pieces(store: FeatureStore, items: np.ndarray, output: str) -> Iterator[np.ndarray]:
    """The rows of an output, a few thousand at a time."""
    for start in range(0, len(items), PIECE_ITEMS):
        yield store.rows(items[start : start + PIECE_ITEMS], output)


def columns(store: FeatureStore, items: np.ndarray) -> list[np.ndarray[Any, Any]]:
    """Ids, labels and splits (len(items),) as fixed-width text, which numpy writes without pickling."""
    return [values[items].astype(str) for values in (store.item_ids, store.labels, store.splits)]
