"""Which value of a mask, or which colour, is which class."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from icebox.features.abc.targets import IGNORED
from icebox.features.datasets.readers.contained_text import read_lines
from icebox.features.errors import IceboxError, suggestion
from icebox.features.names import in_line

UNKNOWN = -2  # the class number of a value that is neither a class nor ignored
VALUES = 1 << 16  # of a grey mask or of a palette
SUGGESTED = 20  # names in an error
LISTED = 8  # values in an error
COLOR_FIRST = re.compile(r"(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\S.*)")  # 128 64 128 Road
COLOR_LAST = re.compile(r"(\S.*?)[\s,]+(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})")  # Road,128,64,128
CLASSES_MAX = 1 << 15  # of which a mask's int16 can tell


@dataclass(frozen=True, kw_only=True)
class ClassValues:
    """The classes' names in order, and {value: class number} with IGNORED among them; values may be packed colours."""

    names: tuple[str, ...]
    numbers: Mapping[int, int]
    colors: bool

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Values (h, w) of a mask → class numbers (h, w) int16, UNKNOWN for values that are none."""
        if not self.colors:
            clipped: np.ndarray = self._table[np.clip(values, 0, VALUES - 1)]
            return clipped
        known = np.array(sorted(self.numbers), np.int64)
        place = np.minimum(np.searchsorted(known, values), len(known) - 1)
        numbers = np.array([self.numbers[value] for value in known.tolist()], np.int16)
        return np.where(known[place] == values, numbers[place], UNKNOWN).astype(np.int16)

    @cached_property
    def _table(self) -> np.ndarray:
        table = np.full(VALUES, UNKNOWN, np.int16)
        for value, number in self.numbers.items():
            table[value] = number
        return table

    def unknown(self, values: np.ndarray) -> str:
        """The first few of these values (n,), as they are written in settings."""
        distinct = np.unique(values)
        shown = ", ".join(map(self.shown, distinct[:LISTED].tolist()))
        return f"{shown} …" if len(distinct) > LISTED else shown

    def shown(self, value: int) -> str:
        """A value, or a colour as [r, g, b]."""
        return str([value >> 16, value >> 8 & 255, value & 255]) if self.colors else str(value)


def class_values(
    classes: Sequence[str] | Mapping[int, str],
    *,
    colors: Sequence[Sequence[int]] | Mapping[str, Sequence[int]] | None,
    offset: int,
    ignore: Sequence[int | str],
) -> ClassValues:
    """The classes by the settings of a source of masks.

    Values that share a name are one class; names or values in `ignore` are none. Raises IceboxError for settings that
    do not fit.
    """
    by_value = values_of(classes, colors, offset)
    ignored_names = [name for name in ignore if isinstance(name, str)]
    for name in ignored_names:
        if name not in by_value.values():
            known = suggestion(name, [in_line(known) for known in dict.fromkeys(by_value.values())][:SUGGESTED])
            raise IceboxError(f"datasets: ignore: no class is called '{in_line(name)}'; {known}")
    ignored = {value for value in ignore if isinstance(value, int)} if colors is None else set[int]()
    if colors is not None and (wanted := set(ignore) - set(ignored_names)) and wanted != {255}:
        raise IceboxError("datasets: ignore: expected names of classes where masks hold colours, found numbers")
    ignored |= {value for value, name in by_value.items() if name in ignored_names}
    names = tuple(dict.fromkeys(name for value, name in by_value.items() if value not in ignored))
    limit = VALUES if colors is None else 1 << 24
    if wrong := [value for value in (*by_value, *ignored) if not 0 <= value < limit]:
        raise IceboxError(f"datasets: classes: expected values of 0 to {VALUES - 1:,}, found {wrong[0]}")
    if not 0 < len(names) < CLASSES_MAX:
        raise IceboxError(f"datasets: classes: expected 1 to {CLASSES_MAX - 1:,} classes, found {len(names):,}")
    number = {name: position for position, name in enumerate(names)}
    numbers = {value: number[name] for value, name in by_value.items() if value not in ignored}
    return ClassValues(names=names, numbers=numbers | dict.fromkeys(ignored, IGNORED), colors=colors is not None)


def values_of(
    classes: Sequence[str] | Mapping[int, str],
    colors: Sequence[Sequence[int]] | Mapping[str, Sequence[int]] | None,
    offset: int,
) -> dict[int, str]:
    """{value, or packed colour: name}, in the order of the classes."""
    if isinstance(classes, Mapping):
        if offset or colors is not None:
            raise IceboxError(
                "datasets: classes: expected names in order beside `offset` or `colors`, found {value: name}"
            )
        return dict(classes)
    if repeated := [name for name in classes if list(classes).count(name) > 1]:
        raise IceboxError(f"datasets: classes: '{in_line(repeated[0])}' stands there twice")
    if colors is None:
        return {offset + position: name for position, name in enumerate(classes)}
    if not isinstance(colors, Mapping):
        if len(colors) != len(classes):
            raise IceboxError(f"datasets: colors: expected one for each of {len(classes)} classes, found {len(colors)}")
        colors = dict(zip(classes, colors, strict=True))
    if missing := [name for name in classes if name not in colors]:
        raise IceboxError(f"datasets: colors: expected one for each class, found none for '{in_line(missing[0])}'")
    named = {packed(colors[name]): name for name in [*classes, *(name for name in colors if name not in classes)]}
    if len(named) < len(colors):
        raise IceboxError("datasets: colors: expected different ones, found one twice")
    return named


def packed(color: Sequence[int]) -> int:
    """[r, g, b] as one number."""
    if len(color) != 3 or not all(0 <= channel < 256 for channel in color):
        raise IceboxError(f"datasets: colors: expected [r, g, b] of 0 to 255, found {list(color)}")
    return color[0] << 16 | color[1] << 8 | color[2]


def read_class_file(path: Path) -> tuple[list[str], dict[str, Sequence[int]] | None]:
    """The names of classes in a text file, a line each, and their colours where each line but the first has one."""
    lines = read_lines(path.parent, path.name)
    rows = [COLOR_FIRST.fullmatch(line) or COLOR_LAST.fullmatch(line) for line in lines]
    if not lines:
        raise IceboxError(f"datasets: {path}: expected names of classes, found nothing")
    if not any(rows):
        return lines, None
    if rows[0] is None:  # names of columns
        lines, rows = lines[1:], rows[1:]
    colors: dict[str, Sequence[int]] = {}
    for line, row in zip(lines, rows, strict=True):
        if row is None:
            raise IceboxError(f"datasets: {path}: expected a colour in every line, found '{in_line(line)}'")
        cells = row.groups()
        name, color = (cells[3], cells[:3]) if row.re is COLOR_FIRST else (cells[0], cells[1:])
        colors[name.strip()] = [int(channel) for channel in color]
    return list(colors), colors
