"""pixels: the pixels themselves, the floor for images, without a network or weights.

Letters: b batch, s size, c channels, h rows and w columns of a map.
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
from icebox.features.nn.output_names import MAP

VERSION = 1
DEFAULT_OUTPUTS = ("last",)
LAST, COLOR = "last", "color"
FLOOR = True  # no network: the score that a network has to beat


def fetch(folder: Path, *, size: Annotated[int, Ge(1), Le(1024)] = 8, grey: bool = True) -> None:
    """Keep the settings. `size`: every image becomes `size`×`size` pixels. `grey`, or else RGB."""
    write_settings(folder, {"size": size, "grey": grey})


def load(folder: Path, *, outputs: Sequence[str], device: str, precision: str = "float32") -> "PixelsBackbone":
    """Outputs are `last`, and for masks and boxes `color:map` or `color:map-HxW`; `device` and `precision` make no
    difference."""
    settings = read_settings(folder, size=POSITIVE, grey=bool)
    return PixelsBackbone(size=settings["size"], grey=settings["grey"], outputs=outputs)


class PixelsBackbone(Backbone):
    """Images resized without keeping proportions, in 0..1: flattened, or as a map of colors and positions."""

    modality: ClassVar[Modality] = "image"

    def __init__(self, *, size: int, grey: bool, outputs: Sequence[str]) -> None:
        self.outputs = tuple(outputs)
        self.size = size
        self.mode = "L" if grey else "RGB"
        self.grids = {output: self._grid(output) for output in outputs if output != LAST}  # output → (h, w)

    def _grid(self, output: str) -> tuple[int, int]:
        layer, _, pooling = output.partition(":")
        grid = MAP.fullmatch(pooling)
        if layer != COLOR or not grid:
            raise IceboxError(f"outputs: pixels have {LAST}, {COLOR}:map and {COLOR}:map-HxW, found {output}")
        return (int(grid[1]), int(grid[2])) if grid[1] else (self.size, self.size)

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

    def prepare(self, content: Content) -> dict[str, np.ndarray]:
        """One image → uint8 (s, s) or (s, s, 3) for `last`, (h, w, 3) for a map; each pixel is the mean of its area."""
        image = to_image(content)
        sizes = {output: (image.convert("RGB"), self.grids[output]) for output in self.grids}
        if LAST in self.outputs:
            sizes[LAST] = image.convert(self.mode), (self.size, self.size)
        return {
            output: np.asarray(of_mode.resize((width, height), Image.Resampling.BOX))
            for output, (of_mode, (height, width)) in sizes.items()
        }

    def encode(self, prepared: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """b images → float32 (b, s·s·c) of `last`, row by row; of a map (b, h, w, 5): red, green, blue, x, y."""
        features = {}
        for output in self.outputs:
            pixels = np.stack([item[output] for item in prepared]).astype(np.float32) / np.float32(255)
            features[output] = pixels.reshape(len(prepared), -1) if output == LAST else with_positions(pixels)
        return features


def with_positions(colors: np.ndarray) -> np.ndarray:
    """Colors (b, h, w, 3) → (b, h, w, 5), with x and y of each cell's centre in 0..1."""
    b, h, w, _ = colors.shape
    y, x = np.meshgrid((np.arange(h) + 0.5) / h, (np.arange(w) + 0.5) / w, indexing="ij")
    positions = np.broadcast_to(np.stack([x, y], axis=-1).astype(np.float32), (b, h, w, 2))
    return np.concatenate([colors, positions], axis=-1)
