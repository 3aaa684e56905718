"""The targets of dense tasks: a picture's mask (segmentation) or its boxes (detection), in the picture's own pixels.

Letters: h height, w width, in pixels; m boxes.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

IGNORED = -1  # the class number of a pixel that is neither learnt from nor scored


@dataclass(frozen=True)
class Mask:
    """The class number of every pixel (h, w) int16; IGNORED where it has none."""

    classes: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        h, w = self.classes.shape
        return h, w

    @property
    def digest(self) -> str:
        """The sha256 of the mask: equal masks have equal ones."""
        return _digest("mask", self.size, self.classes.astype("<i2"))


@dataclass(frozen=True)
class Boxes:
    """The objects of a picture of `size` (height, width).

    `corners` (m, 4) float32 are left, upper, right, lower, where right and lower lie behind the last pixel; `labels`
    (m,) int64 class numbers; `ignored` (m,) bool marks those that are neither learnt from nor scored (VOC's difficult,
    COCO's crowds).
    """

    size: tuple[int, int]
    corners: np.ndarray
    labels: np.ndarray
    ignored: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def digest(self) -> str:
        """The sha256 of the boxes, in their order: equal boxes have equal ones."""
        return _digest(
            "boxes", self.size, self.corners.astype("<f4"), self.labels.astype("<i8"), self.ignored.astype(np.uint8)
        )


Target = Mask | Boxes


def _digest(kind: str, size: tuple[int, int], *arrays: np.ndarray) -> str:
    digest = hashlib.sha256(f"{kind} {size[0]} {size[1]} ".encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
