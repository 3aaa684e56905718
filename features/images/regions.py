"""The part of a picture that a view shows, by which masks and boxes follow their picture.

Without an image library: masks are followed long after the picture was read.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Region:
    """A rectangle of a picture, in its pixels, and whether it is shown with left and right exchanged."""

    left: int
    upper: int
    right: int
    lower: int
    mirrored: bool = False

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
        return self.lower - self.upper

    @property
    def width(self) -> int:
        """Pixels from left to right."""
        return self.right - self.left


FIVE_CROP_SIDE = 7 / 8  # of the shorter side: the classical 224 of 256 pixels
TILE_OVERLAP = 1 / 8  # of a tile's side, with each of its neighbors


def five_crop_region(position: str, *, height: int, width: int) -> Region:
    """A square in a corner of a picture (`top-left` …), or in its `centre`."""
    side = max(1, round(FIVE_CROP_SIDE * min(height, width)))
    right, lower = width - side, height - side
    if position == "centre":
        left, upper = right // 2, lower // 2
    else:
        left, upper = right if "right" in position else 0, lower if "bottom" in position else 0
    return Region(left, upper, left + side, upper + side)


def tile_region(rows: int, columns: int, number: int, *, height: int, width: int) -> Region:
    """Tile `number`, from 1, of rows×columns tiles that cover a picture, row by row."""
    row, column = divmod(number - 1, columns)
    (upper, lower), (left, right) = tile_span(row, rows, height), tile_span(column, columns, width)
    return Region(left, upper, right, lower)


def tile_span(number: int, count: int, side: int) -> tuple[int, int]:
    """Where tile `number`, from 0, of `count` along a side begins and ends; one pixel at least."""
    length = side / (count - (count - 1) * TILE_OVERLAP)
    exact = number * length * (1 - TILE_OVERLAP)
    start = min(int(exact), side - 1)
    return start, side if number == count - 1 else min(side, max(start + 1, math.ceil(exact + length)))
