"""pixels: the pixels themselves, the floor for images, without a network or weights.

Letters: b batch, s size, c channels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Le
from PIL import Image

from icebox.features.abc.backbone import Backbone, read_settings, write_settings
from icebox.features.abc.dataset import Content, Modality
from icebox.features.errors import IceboxError
from icebox.features.images.decoding import to_image
from icebox.features.json_files import POSITIVE

VERSION = 1
DEFAULT_OUTPUTS = ("last",)
FLOOR = True  # no network: the score that a network has to beat


def fetch(folder: Path, *, size: Annotated[int, Ge(1), Le(1024)] = 8, grey: bool = True) -> None:
    """Keep the settings. `size`: every image becomes `size`×`size` pixels. `grey`, or else RGB."""
    write_settings(folder, {"size": size, "grey": grey})


def load(folder: Path, *, outputs: Sequence[str], device: str, precision: str = "float32") -> "PixelsBackbone":
    """The only output is `last`; `device` and `precision` make no difference."""
    settings = read_settings(folder, size=POSITIVE, grey=bool)
    return PixelsBackbone(size=settings["size"], grey=settings["grey"], outputs=outputs)


class PixelsBackbone(Backbone):
    """Images resized to a square without keeping proportions, flattened, in 0..1."""

    modality: ClassVar[Modality] = "image"

    def __init__(self, *, size: int, grey: bool, outputs: Sequence[str]) -> None:
        if tuple(outputs) != DEFAULT_OUTPUTS:
            raise IceboxError(f"outputs: pixels have only {list(DEFAULT_OUTPUTS)}, found {list(outputs)}")
        self.outputs = tuple(outputs)
        self.size = size
        self.mode = "L" if grey else "RGB"

    @property
    def spec(self) -> dict[str, Any]:
        """Size and mode; there are no weights."""
        return {
            "family": "pixels",
            "version": VERSION,
            "weights": None,
            "preprocess": {"size": self.size, "mode": self.mode, "interpolation": "box"},
            "outputs": list(self.outputs),
            "precision": "float32",
        }

    def prepare(self, content: Content) -> np.ndarray:
        """One image → uint8 (s, s) or (s, s, 3); each pixel is the mean of the area that it covers."""
        image = to_image(content).convert(self.mode)
        return np.asarray(image.resize((self.size, self.size), Image.Resampling.BOX))

    def encode(self, prepared: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """b images → {"last": float32 (b, s·s·c)}, row by row."""
        pixels = np.stack(list(prepared)).reshape(len(prepared), -1)
        return {"last": pixels.astype(np.float32) / np.float32(255)}
