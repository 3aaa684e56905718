"""Input sizes other than the one that a vision network's weights were trained with."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from icebox.features.abc.backbone import Backbone
from icebox.features.errors import IceboxError

Preprocess = Mapping[str, Any]  # `resize`: [shorter side] or [height, width], `crop`: a side or both, or None; and more


def scale_preprocess(preprocess: Preprocess, size: int | None) -> dict[str, Any]:
    """The preprocessing scaled to inputs of size×size pixels: the network sees the same part of an image as before."""
    if size is None:
        return dict(preprocess)
    resize, crop = preprocess["resize"], preprocess["crop"]
    ratio = size / max(crop or resize)
    return {
        **preprocess,
        "resize": resize and [round(side * ratio) for side in resize],
        "crop": crop and [size] * len(crop),
    }


@contextmanager
def explain_size_errors(size: int | None) -> Iterator[None]:
    """Within this context a network's error about an input of size×size pixels becomes an IceboxError."""
    try:
        yield
    except (RuntimeError, AssertionError, ValueError) as reason:
        if size is None:
            raise
        line = (str(reason).strip().splitlines() or [type(reason).__name__])[0]
        raise IceboxError(f"size: the network can't take pictures of {size}×{size} pixels: {line}") from reason


def refuse_unsupported_size(backbone: Backbone, size: int | None) -> None:
    """Raise IceboxError where the network can't take inputs of this size, found by encoding a grey image."""
    if size is not None:
        with explain_size_errors(size):
            backbone.encode([backbone.prepare(np.full((64, 64, 3), 127, np.uint8))])
