"""Read JSON that Icebox or a library wrote; a file that is missing, damaged or another's is an error of one line."""

import json
import reprlib
import stat
from pathlib import Path
from typing import Any

from icebox.features.errors import Hint, IceboxError

POSITIVE = range(1, 1 << 31)
LINE_MAX = 300  # characters
SHORT = reprlib.Repr()
SHORT.maxstring = SHORT.maxother = 80

# The form of a value: a type; a range of integers; one of several texts; a list [of a form]; an object with certain
# keys, beside which it may have others.
Shape = type | range | frozenset[str] | list[Any] | dict[str, Any]
NAMES = {
    bool: "true or false", dict: "an object", float: "a number", int: "a whole number", list: "a list", str: "a text"
}  # fmt: skip
KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device"}


def read_json(path: Path, shape: Shape, *, hint: Hint | None = None, **values: str) -> Any:
    """The content of a JSON file. Raises IceboxError, with the hint, where it is not of this shape."""
    content = read_bytes(path, hint=hint, **values)
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as reason:  # ValueError: no UTF-8, no JSON, a number of thousands of digits
        raise IceboxError(f"{path}: expected JSON, found {one_line(reason)}", hint=hint, **values) from reason
    if problem := mismatch(document, shape):
        raise IceboxError(f"{path}: expected {problem}", hint=hint, **values)
    return document


def read_bytes(path: Path, *, hint: Hint | None = None, **values: str) -> bytes:
    """The bytes of a regular file; opening a pipe would wait for ever. Raises IceboxError where they can't be read."""
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
        if kind != stat.S_IFREG:
            found = KINDS.get(kind, "none")
            raise IceboxError(f"{path}: expected a file, found {found}", hint=hint, **values)
        return path.read_bytes()
    except FileNotFoundError as reason:
        raise IceboxError(f"{path}: not found", hint=hint, **values) from reason
    except OSError as reason:
        raise IceboxError(f"{path}: can't be read ({reason.strerror})", hint=hint, **values) from reason


def mismatch(value: object, shape: Shape, place: str = "") -> str:
    """`a whole number at width, found 'x'`; empty where the value is of this shape."""
    at = f" at {place}" if place else ""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"an object{at}, found {shortened(value)}"
        for key, inner in shape.items():
            if key not in value:
                return f"the key {key!r}{at}, found none"
            if problem := mismatch(value[key], inner, f"{place}.{key}".lstrip(".")):
                return problem
        return ""
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"a list{at}, found {shortened(value)}"
        problems = (mismatch(element, shape[0], f"{place}[{i}]") for i, element in enumerate(value))
        return next(filter(None, problems), "")
    if isinstance(shape, frozenset):
        expected, fits = f"one of {', '.join(sorted(shape))}", isinstance(value, str) and value in shape
    elif isinstance(shape, range):
        expected = f"a whole number from {shape.start} to {shape.stop - 1}"
        fits = type(value) is int and value in shape
    else:
        expected = NAMES[shape]
        fits = type(value) in (int, float) if shape is float else type(value) is shape
    return "" if fits else f"{expected}{at}, found {shortened(value)}"


def shortened(value: object) -> str:
    """A value on one short line, however large it is."""
    return one_line(SHORT.repr(value))


def one_line(problem: object, *, limit: int = LINE_MAX) -> str:
    """An error's text, or any other, on one line of so many characters at most."""
    text = " ".join(str(problem)[: 10 * limit].split()) or type(problem).__name__
    return text if len(text) <= limit else f"{text[:limit]} …"
