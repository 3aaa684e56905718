"""Parquet, row by row; pictures in cells are referred to, and read when they are asked for."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from icebox.features.buckets.path import path_of
from icebox.features.datasets.readers.tables.cells import cell_text
from icebox.features.datasets.readers.tables.columns import Column, TableRow, position
from icebox.features.errors import IceboxError
from icebox.features.json_files import one_line

REFERENCE = re.compile(r"cell:(\d+):(.+)", re.S)  # the row and the file of a picture
ROW_GROUPS_KEPT = 4  # of pictures, each of some megabytes


def read_parquet_rows(
    path: Path, requested: Sequence[tuple[str, Column]], *, characters_max: int, pictures: str | None
) -> Iterator[TableRow]:
    """One row a row. Columns of texts are read as dictionaries, so that a text that repeats is one object.

    The cell of a column of pictures (bytes, or {bytes, path} as Hugging Face writes them) is a reference to it where
    the parameter `pictures` asks for that column. Raises IceboxError for a file that is damaged, or whose columns are
    larger than `characters_max` once unpacked.
    """
    with damage_explained(path):
        schema = open_file(path).schema_arrow
    names = [schema.names[position(path, key, column, schema.names)] for key, column in requested]
    types = {name: schema.field(name).type for name in names}
    keys = [key for key, _ in requested]
    columns = [(name, key == pictures and holds_pictures(types[name])) for key, name in zip(keys, names, strict=True)]
    row = 0
    for batch in batches(path, list(dict.fromkeys(name for name, refer in columns if not refer)), characters_max):
        for values in batch:
            where = f"{path}, row {row}"
            cells = [
                f"cell:{row}:{path}" if refer else cell_text(values[name], where, name, key)
                for key, (name, refer) in zip(keys, columns, strict=True)
            ]
            yield TableRow(where, cells)
            row += 1


def batches(path: Path, names: Sequence[str], characters_max: int) -> Iterator[Iterator[dict[str, Any]]]:
    """The rows of these columns, {name: value}, in batches that are in memory."""
    import pyarrow

    with damage_explained(path):
        schema = open_file(path).schema_arrow
        file = open_file(path, [name for name in names if pyarrow.types.is_string(schema.field(name).type)])
        refuse_large(file.metadata, path, characters_max)
        read = file.iter_batches(columns=list(names)) if names else iter(())
    while True:
        with damage_explained(path):
            batch = next(read, None)
            if batch is None:
                break
            columns = [values_of(batch.column(name)) for name in names]
        yield (dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True))
    if not names:  # pictures alone are asked for, which are not read here
        yield ({} for _ in range(file.metadata.num_rows))


def open_file(path: Path, dictionaries: Sequence[str] = ()) -> Any:
    """The opened file, its columns of that list read as dictionaries."""
    import pyarrow.parquet

    return pyarrow.parquet.ParquetFile(path, read_dictionary=list(dictionaries))


def values_of(column: Any) -> list[Any]:
    """A column's values; equal values of a dictionary are one object."""
    import pyarrow

    if not pyarrow.types.is_dictionary(column.type):
        values: list[Any] = column.to_pylist()
        return values
    distinct = [*column.dictionary.to_pylist(), None]
    return [distinct[-1 if index is None else index] for index in column.indices.to_pylist()]


def refuse_large(metadata: Any, path: Path, characters_max: int) -> None:
    """Raise IceboxError where the metadata says that a row group is larger than any honest file's.

    The sizes of single columns are not asked for: where statistics are damaged, pyarrow's answer ends the process.
    """
    for number in range(metadata.num_row_groups):
        size = metadata.row_group(number).total_byte_size
        if not 0 <= size <= characters_max:
            raise IceboxError(
                f"datasets: {path}: row group {number} would take {size:,} bytes of a file of "
                f"{path.stat().st_size:,}; write it in smaller row groups, if it is what it should be"
            )


def holds_pictures(kind: Any) -> bool:
    """Whether a column's type is bytes, or {bytes, path}."""
    import pyarrow

    if pyarrow.types.is_struct(kind):
        return any(field.name == "bytes" and holds_pictures(field.type) for field in kind)
    return bool(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))


def reference(source: str) -> tuple[Path, int] | None:
    """The file and the row that a source refers to, or None for one that is no reference."""
    match = REFERENCE.fullmatch(source)
    return (path_of(match[2]), int(match[1])) if match else None


def read_picture(path: Path, column: Column, row: int) -> bytes | str:
    """The bytes of the picture in a cell, or the path that the cell names instead.

    Raises IceboxError for a cell without either.
    """
    with damage_explained(path):
        status = path.stat()
        starts = row_group_starts(path, status.st_mtime_ns)
        number = sum(start <= row for start in starts) - 1
        cells = row_group_pictures(path, column, number, status.st_mtime_ns)
        cell = cells[row - starts[number]].as_py() if row - starts[number] < len(cells) else None
    content = cell if not isinstance(cell, dict) else cell.get("bytes") or cell.get("path")
    if not content:
        raise IceboxError(f"datasets: {path}, row {row}: column {column!r} holds no picture")
    picture: bytes | str = content
    return picture


@lru_cache(maxsize=64)
def row_group_starts(path: Path, modified_ns: int) -> list[int]:
    """The first row of each row group."""
    metadata = open_file(path).metadata
    sizes = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    return [sum(sizes[:number]) for number in range(len(sizes))]


@lru_cache(maxsize=ROW_GROUPS_KEPT)
def row_group_pictures(path: Path, column: Column, number: int, modified_ns: int) -> Any:
    """The column of pictures in a row group, not yet Python's."""
    file = open_file(path)
    name = file.schema_arrow.names[position(path, "image", column, file.schema_arrow.names)]
    return file.read_row_group(number, columns=[name]).column(name)


@contextmanager
def damage_explained(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong while the file is read into one line."""
    import pyarrow

    try:
        yield
    except UnicodeDecodeError as error:
        raise IceboxError(f"datasets: {path}: a text in it is not UTF-8 ({one_line(error)}); write it anew") from error
    except OSError as error:
        kind = "can't be read" if error.errno else "is no whole Parquet file"
        raise IceboxError(f"datasets: {path} {kind}: {one_line(error)}") from error
    except (pyarrow.ArrowException, ValueError, TypeError, ArithmeticError, ImportError, MemoryError) as error:
        raise IceboxError(f"datasets: {path} is no whole Parquet file: {one_line(error)}") from error
