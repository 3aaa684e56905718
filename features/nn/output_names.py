"""Bounds of the names of outputs, known without torch, so that settings can be checked before anything is loaded."""

import re
from collections.abc import Sequence

from icebox.features.errors import IceboxError

GRID = re.compile(r"grid-([1-9][0-9]?)")  # to 99: few networks' outputs have as many positions a side
LARGE_GRID = re.compile(r"grid-[1-9][0-9]{2,}")


def refuse_large_grids(outputs: Sequence[str]) -> None:
    """Raise IceboxError for an output (`LAYER:grid-K`) of more cells than any network has positions."""
    for output in outputs:
        if LARGE_GRID.fullmatch(output.rpartition(":")[2]):
            raise IceboxError(f"outputs: '{output}': expected a grid of at most 99 cells a side")
