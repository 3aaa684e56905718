"""Cells of tables as text."""

import json
import math
from typing import Any

from icebox.features.errors import IceboxError

LIST = "label: {column}"  # the parameter whose cells may be lists


def cell_text(value: Any, where: str, column: str, key: str) -> str:
    """A cell as text, a list of names as JSON where the parameter `key` may have one."""
    if key == LIST and isinstance(value, list):
        return json.dumps([as_text(each, where, column) for each in value], ensure_ascii=False)
    return as_text(value, where, column)


def as_text(value: Any, where: str, column: str) -> str:
    """A cell as text: numbers as Python writes them, truth values `true` and `false`, missing values "".

    Raises IceboxError for a list, an object or bytes.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes | dict | list):
        raise IceboxError(
            f"datasets: {where}: column '{column}': expected text or a number, found {type(value).__name__}"
        )
    return str(value)
