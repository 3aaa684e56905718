"""Read the JSON files that stages leave for each other and for the report; a damaged one is an error of one line."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from icebox.features.errors import IceboxError
from icebox.features.json_files import one_line, read_bytes, shortened


class Document(BaseModel):
    """The form of a JSON object: the keys that readers rely on, with their types; it may have others."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)


T = TypeVar("T")


def read(path: Path, kind: type[T], *, remedy: str) -> T:
    """The content of a JSON file, of type `kind`: a Document, or a list or dict of plain values or Documents.

    Raises IceboxError, with the command that makes the file anew, where it is missing or of another form.
    """
    try:
        content = read_bytes(path)
    except IceboxError as error:
        raise IceboxError(f"{error}; {remedy}") from error
    try:
        document: T = TypeAdapter(kind).validate_json(content)
    except ValidationError as errors:
        first = errors.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        found = "" if first["type"] in ("json_invalid", "missing") else f", found {shortened(first['input'])}"
        raise damaged(path, f"{place + ': ' if place else ''}{first['msg']}{found}", remedy=remedy) from errors
    return document


def damaged(path: Path, problem: str, *, remedy: str) -> IceboxError:
    """The error for a file that is there but is not what was written."""
    return IceboxError(f"{path}: damaged ({one_line(problem)}); {remedy}")
