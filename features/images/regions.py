"""The part of a picture that a view shows, by which masks and boxes follow their picture."""

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
