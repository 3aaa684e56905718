"""Input sizes other than the one that a vision network's weights were trained with."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from icebox.features.abc.backbone import Backbone
from icebox.features.errors import IceboxError

Size = int | Sequence[int]  # of a square, or height and width
Preprocess = Mapping[str, Any]  # `resize`: [shorter side] or [height, width], `crop`: a side or both, or None; and more


def scale_preprocess(preprocess: Preprocess, size: Size | None, *, whole: bool = False) -> dict[str, Any]:
    """The preprocessing scaled to inputs of `size`: the network sees the same part of an image as before.

    With `whole` it sees the whole image instead, stretched to `size`, or else to its own input's size.
    """
    resize, crop = preprocess["resize"], preprocess["crop"]
    if whole:
        sides = height_and_width(size) if size is not None else own_input(preprocess)
        return {**preprocess, "resize": sides, "crop": sides}
    if size is None:
        return dict(preprocess)
    if not isinstance(size, int):
        sides = height_and_width(size)
        ratio = min(sides) / max(crop or resize)
        shown = sides if resize and len(resize) == 2 else resize and [round(side * ratio) for side in resize]
        return {**preprocess, "resize": shown, "crop": crop and sides}
    ratio = size / max(crop or resize)
    return {
        **preprocess,
        "resize": resize and [round(side * ratio) for side in resize],
        "crop": crop and [size] * len(crop),
    }


def height_and_width(size: Size) -> list[int]:
    """Both sides of a size."""
    return [size, size] if isinstance(size, int) else list(size)


def own_input(preprocess: Preprocess) -> list[int]:
    """Height and width of the input that a preprocessing gives. Raises IceboxError where it gives various ones."""
    sides = preprocess["crop"] or preprocess["resize"]
    if not sides or (len(sides) == 1 and not preprocess["crop"]):
        raise IceboxError(
            "size: the network takes pictures of any size, and a map needs one; say size: [HEIGHT, WIDTH]"
        )
    return (list(sides) * 2)[:2]


def size_text(size: Size) -> str:
    """A size for people: 224×224."""
    return "×".join(map(str, height_and_width(size)))


@contextmanager
def explain_size_errors(size: Size | None, *also: type[Exception]) -> Iterator[None]:
    """Within this context a network's error about an input of `size` becomes an IceboxError; so do those of `also`."""
    kinds: tuple[type[Exception], ...] = (RuntimeError, AssertionError, ValueError, *also)
    try:
        yield
    except kinds as reason:
        if size is None:
            raise
        line = (str(reason).strip().splitlines() or [type(reason).__name__])[0]
        raise IceboxError(f"size: the network can't take pictures of {size_text(size)} pixels: {line}") from reason


def check_input(backbone: Backbone, size: Size | None) -> None:
    """Prepare a blank image, so that damaged settings are found here and not in every item; refuse a `size` that the
    network can't take. Raises IceboxError."""
    backbone.prepare(np.zeros((8, 8, 3), np.uint8))
    refuse_unsupported_size(backbone, size)


def refuse_unsupported_size(backbone: Backbone, size: Size | None) -> None:
    """Raise IceboxError where the network can't take inputs of this size, found by encoding a grey image."""
    if size is not None:
        with explain_size_errors(size):
            backbone.encode([backbone.prepare(np.full((64, 64, 3), 127, np.uint8))])
