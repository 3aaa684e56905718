"""JSON Lines, one object a line, and JSON arrays of objects."""

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from icebox.features.datasets.readers.tables.cells import cell_text
from icebox.features.datasets.readers.tables.columns import Column, TableRow, empty_table, position
from icebox.features.datasets.readers.tables.text_files import (
    LONGEST_LINE_CHARACTERS,
    ByteCount,
    lines,
    no_row,
    open_text,
    read_span,
    refuse_long,
)
from icebox.features.errors import IceboxError
from icebox.features.json_files import one_line

WHOLE_CHARACTERS = 1 << 26  # of a file that is looked at as a whole, to tell what it is


def read_json_rows(
    path: Path, requested: Sequence[tuple[str, Column]], *, encoding: str, characters_max: int
) -> Iterator[TableRow]:
    """One row an object; a key that some lack is missing there, a key that all lack is an error.

    Raises IceboxError for what is no object, with its place, and as `open_text` does. An array is read whole, and may
    hold `characters_max`.
    """
    with open_text(path, encoding, newline="") as stream:
        objects = list(parse_objects(stream, path, characters_max, ByteCount(path, encoding)))
    columns = list(dict.fromkeys(key for _, values, _ in objects for key in values))
    if not columns:
        raise empty_table(path)
    named = [(key, columns[position(path, key, column, columns)]) for key, column in requested]
    numbered = any(isinstance(column, int) for _, column in requested)  # one object does not tell its number
    for where, values, span in objects:
        yield TableRow(
            where, [cell_text(values.get(name), where, name, key) for key, name in named], None if numbered else span
        )


def read_json_span(
    path: Path, requested: Sequence[tuple[str, Column]], span: tuple[int, int], *, encoding: str
) -> list[str]:
    """The requested cells of the object that lies at these bytes, by the names of its keys.

    Raises IceboxError where there is no object now.
    """
    try:
        values = json.loads(read_span(path, span, encoding))
    except (ValueError, RecursionError) as error:
        raise no_row(path, span) from error
    if not isinstance(values, dict):
        raise no_row(path, span)
    stripped = {name.strip(): value for name, value in values.items()} | values
    return [cell_text(stripped.get(str(column)), str(path), str(column), key) for key, column in requested]


def parse_objects(
    stream: TextIO, path: Path, characters_max: int, count: ByteCount
) -> Iterator[tuple[str, dict[str, Any], tuple[int, int] | None]]:
    """(its place, the object, its bytes where it has a line of its own) for each line or element."""
    number, first, start = 0, "\n", count.total
    while first and not first.strip():
        number, first, start = number + 1, stream.readline(LONGEST_LINE_CHARACTERS), count.total
        count.add(first)
    if first.lstrip().startswith("["):  # an array may be one long line
        content = first + stream.read(characters_max)
        if stream.read(1):
            raise IceboxError(f"datasets: {path}: the array is far larger than the file; write it as JSON Lines")
        for element, values in enumerate(parse(content, str(path), "an array of objects, or one object a line")):
            yield f"{path}, element {element}", require_object(values, f"{path}, element {element}"), None
        return
    refuse_long(first, path, number)
    for line in itertools.chain([first], lines(stream, path, after=number)):
        where = f"{path}, line {number}"
        if line is not first:
            start = count.total
            count.add(line)
        if line.strip():
            try:
                values = parse(line, where, "one JSON object a line (JSON Lines), or an array of objects")
            except IceboxError as error:
                if line is first and (keys := keys_of_one_object(line + stream.read(WHOLE_CHARACTERS))):
                    raise IceboxError(
                        f"datasets: {path}: expected an array of objects, or one object a line (JSON Lines), found one "
                        f"object with the keys {one_line(', '.join(keys))}; write its rows as an array"
                    ) from error
                raise
            span = None if start is None or count.total is None else (start, count.total - start)
            yield where, require_object(values, where), span
        number += 1


def parse(text: str, where: str, expected: str) -> Any:
    """The value that a text holds."""
    try:
        return json.loads(text, object_pairs_hook=unrepeated)
    except (ValueError, RecursionError) as error:
        raise IceboxError(f"datasets: {where}: expected {expected}: {one_line(error)}") from error


def unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object. Raises ValueError for a key that it has twice, of which json would keep the last in silence."""
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} stands there twice")
    return values


def require_object(value: Any, where: str) -> dict[str, Any]:
    """The value, which must be an object."""
    if not isinstance(value, dict):
        raise IceboxError(f"datasets: {where}: expected a JSON object, found {one_line(value)[:40]!r}")
    return value


def keys_of_one_object(content: str) -> list[str]:
    """The keys, where the whole file is one object over several lines."""
    try:
        value = json.loads(content, object_pairs_hook=unrepeated)
    except (ValueError, RecursionError):
        return []
    return list(value) if isinstance(value, dict) else []
