"""The objects of a picture as their file has them, and what becomes of them: boxes within the picture."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from icebox.features.abc.account import Account
from icebox.features.abc.targets import Boxes
from icebox.features.errors import IceboxError
from icebox.features.json_files import shortened
from icebox.features.names import in_line

Unknown = Literal["error", "drop"]
BoxKind = Literal["xyxy", "xywh", "cxcywh"]  # as torchvision calls them
SLACK = 1.0  # pixels by which a box may reach out of its picture untold: files count from 0 or from 1
NUMBER_MAX = 1e9  # pixels


@dataclass(kw_only=True)
class Annotation:
    """The objects of a picture: `corners` in pixels, or with `normalized` as shares of its width and height.

    `size` is the picture's height and width where the file says them; `where` the file, for errors.
    """

    where: str
    size: tuple[int, int] | None = None
    normalized: bool = False
    corners: list[tuple[float, float, float, float]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    ignored: list[bool] = field(default_factory=list)

    def add(self, label: str, numbers: Sequence[object], *, kind: BoxKind = "xyxy", ignored: bool = False) -> None:
        """Add an object. Raises IceboxError for a box that is not of four finite numbers."""
        self.corners.append(corners_of(numbers, kind, f"{self.where}: '{in_line(label)}'"))
        self.labels.append(label)
        self.ignored.append(ignored)

    def boxes(
        self, numbers: Mapping[str, int], size: tuple[int, int], account: Account, name: str, *, unknown: Unknown
    ) -> Boxes:
        """The boxes, clipped to the picture; those without area are left out. Both is noted with the picture's name.

        Raises IceboxError for a label without a number, unless those are to `drop`.
        """
        h, w = size
        strangers = [label for label in self.labels if label not in numbers]
        if strangers and unknown == "error":
            known = ", ".join(map(in_line, list(numbers)[:10]))
            raise IceboxError(
                f"{self.where}: '{in_line(strangers[0])}' is none of the classes {known}; add it to `classes`, or set "
                "`unknown: drop`"
            )
        if strangers:
            description = "boxes left out, since their label is none of `classes`"
            account.note("unknown_labels", description, f"{name} ({in_line(strangers[0])})", count=len(strangers))
        kept = np.array([label in numbers for label in self.labels], bool)
        corners = np.array(self.corners, np.float64).reshape(-1, 4)[kept]
        if self.normalized:
            corners *= np.array([w, h, w, h], np.float64)
        clipped = np.clip(corners, 0, np.array([w, h, w, h], np.float64))
        outside = (np.abs(clipped - corners) > SLACK).any(axis=1)
        solid = (clipped[:, 2] > clipped[:, 0]) & (clipped[:, 3] > clipped[:, 1])
        if count := int((outside & solid).sum()):
            account.note("boxes_outside", "boxes that reach out of their picture, clipped", name, count=count)
        if count := int((~solid).sum()):
            account.note("boxes_without_area", "boxes without area in their picture, left out", name, count=count)
        labels = np.array([numbers[label] for label in self.labels if label in numbers], np.int64)
        ignored = np.array(self.ignored, bool)[kept]
        return Boxes(size, clipped[solid].astype(np.float32), labels[solid], ignored[solid])


def corners_of(numbers: Sequence[object], kind: BoxKind, where: str) -> tuple[float, float, float, float]:
    """Four numbers, or texts of them, as left, upper, right, lower."""
    try:
        first, second, third, fourth = (float(number) for number in numbers)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise IceboxError(f"{where}: expected a box of four numbers, found {shortened(list(numbers))}") from None
    if not all(abs(number) <= NUMBER_MAX for number in (first, second, third, fourth)):
        raise IceboxError(f"{where}: expected a box of four finite numbers, found {shortened(list(numbers))}")
    if kind == "xyxy":
        return first, second, third, fourth
    if kind == "cxcywh":
        first, second = first - third / 2, second - fourth / 2
    return first, second, first + third, second + fourth


@dataclass(frozen=True)
class BoxedPicture:
    """A picture, its official split and its group."""

    path: str
    split: str = ""
    group: str = ""


class BoxReader(ABC):
    """A kind of annotation files."""

    @abstractmethod
    def pictures(self, account: Account) -> list[BoxedPicture]:
        """The pictures in order; what is passed over is noted."""

    @abstractmethod
    def names(self) -> list[str]:
        """The labels of all objects, in the order that the files give them, or else sorted."""

    @abstractmethod
    def annotation(self, path: str) -> Annotation:
        """The objects of a picture."""

    @abstractmethod
    def file(self, path: str) -> str:
        """The annotation file of a picture, for errors."""
