"""Write a store for other programs: .npz, .parquet, or .npy and a CSV. Piece by piece, and whole or not at all."""

import csv
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

PIECE_ITEMS = 4096
COLUMNS = ("item_id", "label", "split")


@dataclass(frozen=True)
class Chosen:
    """What to write of a store: these items (positions in its manifest) and outputs, in one view."""

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
    splits go into a CSV of the same name.
    """
    writers = {".npz": npz, ".parquet": parquet, ".npy": npy}
    if to.suffix not in writers:
        raise IceboxError(f"{to}: expected a name that ends in {', '.join(writers)}")
    chosen = Chosen(store, store.items(split), list(outputs or store.outputs), view or store.views[0])
    writers[to.suffix](chosen, to)
    print(f"{to}: {len(chosen.items):,} items, {to.stat().st_size / 1e6:,.1f} MB")


def npz(chosen: Chosen, to: Path) -> None:
    """An uncompressed archive of .npy files."""
    with files.replacing(to) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for column, values in zip(COLUMNS, chosen.columns(), strict=True):
            with archive.open(f"{column}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, values, allow_pickle=False)
        for output in chosen.outputs:
            with archive.open(f"{output}.npy", "w", force_zip64=True) as stream:
                write_array(stream, chosen, output)
            if chosen.store.is_ragged(output):
                counts = chosen.store.token_counts(chosen.items, output, view=chosen.view)
                with archive.open(f"{output}.offsets.npy", "w", force_zip64=True) as stream:
                    np.lib.format.write_array(stream, offsets_of(counts), allow_pickle=False)


def npy(chosen: Chosen, to: Path) -> None:
    """One array, and a CSV of what its rows are."""
    if len(chosen.outputs) != 1:
        raise IceboxError(
            f"{to}: .npy holds one output, the store has several; add --output with {' or '.join(chosen.outputs)}"
        )
    if chosen.store.is_ragged(chosen.outputs[0]):
        raise IceboxError(f"{to}: '{chosen.outputs[0]}' has a vector a token, not one an item; use .npz or .parquet")
    with (
        files.replacing(to.with_suffix(".csv")) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as rows,
    ):
        writer = csv.writer(rows, lineterminator="\n", quoting=csv.QUOTE_ALL)  # else a lone "\r" would be lost
        writer.writerow(COLUMNS)
        writer.writerows(zip(*(values.tolist() for values in chosen.columns()), strict=True))
    # Written, not mapped: running out of disk under a memory map kills the process instead of raising.
    with files.replacing(to) as temporary, temporary.open("wb") as stream:
        write_array(stream, chosen, chosen.outputs[0])


def parquet(chosen: Chosen, to: Path) -> None:
    """A table; a feature is a list of fixed length, flattened, its shape in the column's metadata.

    Of tokens' vectors it is a list of such lists.
    """
    import pyarrow as pa
    from pyarrow import parquet as pq

    fields = [pa.field(column, pa.string()) for column in COLUMNS]
    store = chosen.store
    for output in chosen.outputs:
        shape = store.row_shape(output)
        kind = pa.list_(pa.from_numpy_dtype(store.dtype(output)), int(np.prod(shape)))
        kind = pa.large_list(kind) if store.is_ragged(output) else kind
        fields.append(pa.field(output, kind, metadata={"shape": ",".join(map(str, shape))}))
    schema = pa.schema(fields)
    with files.replacing(to) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        starts = range(0, len(chosen.items), PIECE_ITEMS)
        for start, *piece in zip(starts, *map(chosen.pieces, chosen.outputs), strict=True):
            columns = chosen.columns(slice(start, start + PIECE_ITEMS))
            arrays = [pa.array(values.tolist(), pa.string()) for values in columns]
            for field, rows in zip(fields[len(COLUMNS) :], piece, strict=True):
                numbers = pa.array(flat(rows).reshape(-1))
                if isinstance(rows, Ragged):
                    vectors = pa.FixedSizeListArray.from_arrays(numbers, type=field.type.value_type)
                    arrays.append(pa.LargeListArray.from_arrays(rows.offsets, vectors, type=field.type))
                else:
                    arrays.append(pa.FixedSizeListArray.from_arrays(numbers, type=field.type))
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def write_array(stream: IO[bytes], chosen: Chosen, output: str) -> None:
    """One output as numpy's .npy format, a piece at a time."""
    rows = len(chosen.items)
    if chosen.store.is_ragged(output):
        rows = int(chosen.store.token_counts(chosen.items, output, view=chosen.view).sum())
    header = {
        "descr": np.lib.format.dtype_to_descr(chosen.store.dtype(output)),
        "fortran_order": False,
        "shape": (rows, *chosen.store.row_shape(output)),
    }
    np.lib.format.write_array_header_1_0(stream, header)
    for piece in chosen.pieces(output):
        stream.write(flat(piece).tobytes())
