"""Tables of a manifest's columns, as Arrow keeps them in memory, and its files: Parquet, and the CSV of earlier times.

The columns: `item_id` and `source` as texts, `item_key` as 32 bytes (as text where one is no sha256), the others as
codes into their distinct values. A row costs about 100 bytes.
"""

import csv
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from icebox.features import files, splits
from icebox.features.errors import IceboxError
from icebox.features.json_files import one_line

if TYPE_CHECKING:
    import pyarrow as pa

# pyarrow is imported where it is used: nearly every command imports this module, and many have no use for a manifest

COLUMNS = ("item_id", "item_key", "label", "split", "group", "source")
TEXTS = ("item_id", "source")  # nearly every value is another
SLICE = "slice_"  # prefix of the columns with slices
KEY_BYTES = 32
ITEM_KEY = re.compile(r"[0-9a-f]+")
BLOCK_ROWS = 1 << 14  # that are Python's objects at a time
GROUP_ROWS = 1 << 17  # of a row group of the file

Cells = Mapping[str, Sequence[str]]  # {column: values}
Columns = Mapping[str, Any]  # {column: Arrow array}


def of_blocks(blocks: Iterable[Cells]) -> "pa.Table":
    """A table of blocks of rows; a slice that a block lacks is "" for its rows."""
    return of_columns(map(columns_of, blocks))


def columns_of(block: Cells) -> Columns:
    """A block of rows as columns."""
    return {name: column_of(name, values) for name, values in block.items()}


def of_columns(blocks: Iterable[Columns]) -> "pa.Table":
    """A table of blocks of columns; a slice that a block lacks is "" for its rows."""
    import pyarrow as pa

    parts = list(blocks)
    names = list(dict.fromkeys(name for part in parts for name in part if name not in COLUMNS))
    columns: dict[str, Any] = {}
    for name in (*COLUMNS, *names):
        chunks = [
            part[name] if name in part else column_of(name, [""] * len(part["item_id"])) for part in parts
        ]  # fmt: skip
        if name == "item_key" and len({chunk.type for chunk in chunks}) > 1:
            chunks = [hex_texts(chunk).cast(pa.string()) for chunk in chunks]
        columns[name] = joined(chunks) if chunks else column_of(name, [])
    return pa.table([*columns.values()], names=[*columns])


def column_of(name: str, values: Sequence[str]) -> "pa.Array":
    """A column of these values in the type that its name has."""
    import pyarrow as pa

    if name == "item_key":
        return keys_of(values)
    if name in TEXTS:
        return texts(values)
    number = {value: i for i, value in enumerate(dict.fromkeys(values))}
    codes = np.fromiter(map(number.__getitem__, values), np.int32, len(values))
    return pa.DictionaryArray.from_arrays(of_numbers(codes), short_texts([*number]))


def texts(values: Sequence[str]) -> "pa.Array":
    """Texts as a column; `pa.array` of a list imports pandas, half a second."""
    import pyarrow as pa

    joined = "".join(values)
    content = joined.encode()
    lengths = map(len, values) if len(content) == len(joined) else (len(value.encode()) for value in values)
    ends = np.zeros(len(values) + 1, np.int64)
    np.cumsum(np.fromiter(lengths, np.int64, len(values)), out=ends[1:])
    return pa.LargeStringArray.from_buffers(len(values), pa.py_buffer(ends), pa.py_buffer(content))


def short_texts(values: Sequence[str]) -> "pa.Array":
    """Texts of 2 GB at most in all, as a column with offsets of 32 bits."""
    import pyarrow as pa

    return texts(values).cast(pa.string())


def keys_of(keys: Sequence[str]) -> "pa.Array":
    """sha256s (hex) as 32 bytes each; as text where one is none."""
    digits = "".join(keys)
    if all(len(key) == 2 * KEY_BYTES for key in keys) and (not digits or ITEM_KEY.fullmatch(digits)):
        return digests(bytes.fromhex(digits))
    return short_texts(keys)


def digests(content: bytes) -> "pa.Array":
    """n digests that lie one behind the other, as a column."""
    import pyarrow as pa

    kind, n = pa.binary(KEY_BYTES), len(content) // KEY_BYTES
    return pa.FixedSizeBinaryArray.from_buffers(kind, n, [None, pa.py_buffer(content)])


def hex_texts(column: Any) -> "pa.Array":
    """The keys of a column in hex, as a column of texts."""
    import pyarrow as pa

    if not pa.types.is_fixed_size_binary(column.type):
        return column.cast(pa.large_string())
    starts = np.arange(0, (len(column) + 1) * 2 * KEY_BYTES, 2 * KEY_BYTES)
    digits = digest_bytes(column).tobytes().hex().encode()
    return pa.LargeStringArray.from_buffers(len(column), pa.py_buffer(starts), pa.py_buffer(digits))


def hex_keys(column: Any) -> list[str]:
    """The keys of a column, in hex."""
    keys: list[str] = hex_texts(column).to_pylist()
    return keys


def numbers(column: Any) -> np.ndarray:
    """A column of numbers without gaps as an array; `np.asarray` and `to_numpy` import pandas, half a second."""
    import pyarrow as pa

    parts = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    return np.concatenate([np.from_dlpack(part) for part in parts]) if len(parts) != 1 else np.from_dlpack(parts[0])


def of_numbers(values: np.ndarray) -> "pa.Array":
    """Numbers (n,) as a column; `pa.array` of an array imports pandas."""
    import pyarrow as pa

    content = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, content])


def digest_bytes(column: Any) -> np.ndarray:
    """A column of digests (n, 32) uint8, writable."""
    import pyarrow as pa

    parts = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    blocks = [
        np.frombuffer(part.buffers()[1], np.uint8)[part.offset * KEY_BYTES : (part.offset + len(part)) * KEY_BYTES]
        for part in parts
        if len(part)
    ]
    return np.concatenate([np.empty(0, np.uint8), *blocks]).reshape(-1, KEY_BYTES)


def joined(chunks: Sequence[Any]) -> "pa.Array":
    """The parts of a column as one, with one dictionary, its values in the order in which they occur."""
    import pyarrow as pa

    column = pa.chunked_array(chunks).unify_dictionaries().combine_chunks()
    return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column


def coded(codes: np.ndarray, values: Sequence[str]) -> "pa.Array":
    """The column whose rows have `values[code]`; equal values become one."""
    import pyarrow as pa

    names = list(dict.fromkeys(values))
    number = {name: i for i, name in enumerate(names)}
    numbers = np.array([number[value] for value in values], np.int32)
    indices = of_numbers(numbers[codes] if len(numbers) else np.empty(0, np.int32))
    return pa.DictionaryArray.from_arrays(indices, short_texts(names))


def write_parquet(path: Path, table: "pa.Table") -> None:
    """Write a table, whole or not at all; the same bytes for the same rows, however they came together.

    Columns lie decoded in the file's schema, and its row groups have their own dictionaries, so that a dictionary's
    order in memory is no part of it. Of the columns, digests can't be compressed.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(field.name, decoded_type(field.type)) for field in table.schema])
    with (
        files.replacing(path) as temporary,
        pq.ParquetWriter(
            temporary,
            schema,
            compression={name: "none" if name == "item_key" else "zstd" for name in table.column_names},
            use_dictionary=[name for name in table.column_names if name not in (*TEXTS, "item_key")],
            write_statistics=False,  # pyarrow's answer to damaged ones ends the process
            write_page_checksum=True,
        ) as writer,
    ):
        for start in range(0, table.num_rows, GROUP_ROWS):
            writer.write_table(table.slice(start, GROUP_ROWS).cast(schema), row_group_size=GROUP_ROWS)


def decoded_type(kind: Any) -> Any:
    """The type of a column's values."""
    import pyarrow as pa

    return kind.value_type if pa.types.is_dictionary(kind) else kind


def read_parquet(path: Path) -> "pa.Table":
    """The table in a file. Raises IceboxError for a file that is no whole manifest."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = pq.ParquetFile(path).schema_arrow.names
        require_columns(names, path)
        dictionaries = [name for name in names if name not in (*TEXTS, "item_key")]
        table = pq.ParquetFile(path, read_dictionary=dictionaries, page_checksum_verification=True).read(
            use_threads=False
        )
        whole = table.schema.field("item_key").type == pa.binary(KEY_BYTES)
        types = {"item_key": pa.binary(KEY_BYTES) if whole else pa.string(), **dict.fromkeys(TEXTS, pa.large_string())}
        dictionary = pa.dictionary(pa.int32(), pa.string())
        if any(column.null_count for column in table.columns):
            raise damaged(path, "rows without a value")
        table = table.cast(pa.schema([(name, types.get(name, dictionary)) for name in names]))
        columns = [
            joined(column.chunks or [column_of(name, [])]) for name, column in zip(names, table.columns, strict=True)
        ]
        table = pa.table(columns, names=names)
        table.validate(full=True)
    except (pa.ArrowException, LookupError, TypeError, ValueError, ArithmeticError, MemoryError, OSError) as reason:
        raise damaged(path, one_line(f"{type(reason).__name__}: {reason}")) from reason
    for split in table.column("split").chunk(0).dictionary.to_pylist() if table.num_rows else ():
        if not splits.is_split(split):
            raise damaged(path, f"the split {split[:40]!r}")
    if not whole:
        for key in table.column("item_key").to_pylist():
            require_key(key, path)
    return table


def read_csv(path: Path) -> "pa.Table":
    """The table in a CSV, as manifests were until Icebox 0.1. Raises IceboxError as `read_parquet`, with the line."""
    csv.field_size_limit(sys.maxsize)  # a text may be longer than csv's default of 128 KiB
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            lines = csv.reader(stream, strict=True)
            names = next(lines, [])
            require_columns(names, path)
            rows = (checked(cells, len(names), f"{path}, line {lines.line_num}") for cells in lines)
            return of_blocks(blocks_of(names, rows))
    except (OSError, UnicodeDecodeError, csv.Error) as reason:
        raise damaged(path, reason) from reason


def blocks_of(names: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[Cells]:
    """Rows of cells in blocks of columns."""
    source = iter(rows)
    while block := list(islice(source, BLOCK_ROWS)):
        yield dict(zip(names, zip(*block, strict=True), strict=True))


def write_csv(path: Path, columns: Mapping[str, Sequence[str]]) -> None:
    """Write columns of cells as a CSV, whole or not at all."""
    with files.replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)  # else a lone "\r" would be lost
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def require_columns(names: Sequence[str], path: Path) -> None:
    """Raise IceboxError where these are not the columns of a manifest."""
    if tuple(names[: len(COLUMNS)]) != COLUMNS or not all(name.startswith(SLICE) for name in names[len(COLUMNS) :]):
        raise damaged(path, f"the columns {', '.join(names)[:80]!r}")


def checked(cells: list[str], width: int, place: str) -> list[str]:
    """The cells of a line. Raises IceboxError, which begins with `place`, where they are no row of a manifest."""
    if len(cells) != width:
        raise damaged(place, f"a line of {len(cells)} cells, not {width}")
    if not splits.is_split(cells[COLUMNS.index("split")]):
        raise damaged(place, f"the split {cells[COLUMNS.index('split')][:40]!r}")
    require_key(cells[COLUMNS.index("item_key")], place)
    return cells


def require_key(key: str, place: object) -> None:
    """Raise IceboxError for a key that is no hash in hex."""
    if not ITEM_KEY.fullmatch(key):
        raise damaged(place, f"the hash {key[:80]!r}")


def damaged(place: object, problem: object) -> IceboxError:
    """The error for a file that is no manifest."""
    return IceboxError(f"{place}: expected a manifest, found {problem}", hint="make the manifest again")
