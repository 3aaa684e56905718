"""Bounds of the names of outputs, known without torch, so that settings can be checked before anything is loaded."""

import re
from collections.abc import Sequence

from icebox.features.errors import IceboxError

GRID = re.compile(r"grid-([1-9][0-9]?)")  # to 99: few networks' outputs have as many positions a side
LARGE_GRID = re.compile(r"grid-[1-9][0-9]{2,}")
MAP = re.compile(r"map(?:-([1-9][0-9]{0,2})x([1-9][0-9]{0,2}))?")  # no pooling over positions; or the mean in h×w cells


def is_map(output: str) -> bool:
    """Whether an output (`LAYER:map`, `LAYER:map-HxW`) keeps one vector for each position of the picture."""
    return MAP.fullmatch(output.rpartition(":")[2]) is not None and ":" in output


def holds_map(outputs: Sequence[str]) -> bool:
    """Whether any of the outputs is a map; the network then sees the whole picture."""
    return any(map(is_map, outputs))


def refuse_large_grids(outputs: Sequence[str]) -> None:
    """Raise IceboxError for an output (`LAYER:grid-K`) of more cells than any network has positions."""
    for output in outputs:
        if LARGE_GRID.fullmatch(output.rpartition(":")[2]):
            raise IceboxError(f"outputs: '{output}': expected a grid of at most 99 cells a side")
