"""made: a vector for each of the texts of the dataset `made`, at a hundred thousand a second."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge

from icebox.features.abc.backbone import Backbone, read_settings, write_settings
from icebox.features.abc.dataset import Content
from icebox.features.json_files import POSITIVE

VERSION = 1
DEFAULT_OUTPUTS = ("last",)
CLASSES = 10
LATENT = 24  # dimensions that the items lie in
APART = 1.2  # how far the classes lie from one another
NEARLY = 0.01  # how far a copy lies from what it is a copy of


def fetch(folder: Path, *, dimensions: Annotated[int, Ge(1)] = 512) -> None:
    """Nothing but the settings. `dimensions`: of a vector."""
    write_settings(folder, {"family": "made", "dimensions": dimensions})


def load(folder: Path, *, outputs: Sequence[str], device: str, precision: str = "float32") -> Backbone:
    """The only output is `last`."""
    return MadeBackbone(read_settings(folder, dimensions=POSITIVE)["dimensions"])


class MadeBackbone(Backbone):
    """A number's point in a space of few dimensions, drawn by hashing, then one random layer with tanh."""

    modality = "text"
    outputs = DEFAULT_OUTPUTS

    def __init__(self, dimensions: int) -> None:
        random = np.random.default_rng(0)
        self.layer = random.normal(0, 0.7 / np.sqrt(LATENT), (LATENT, dimensions)).astype(np.float32)
        self.shift = random.normal(0, 0.5, dimensions).astype(np.float32)
        self.classes = random.normal(0, APART, (CLASSES, LATENT)).astype(np.float32)

    @property
    def spec(self) -> dict[str, Any]:
        """The number of dimensions."""
        return {
            "family": "made",
            "version": VERSION,
            "dimensions": self.layer.shape[1],
            "outputs": list(self.outputs),
            "precision": "float32",
        }

    def prepare(self, content: Content) -> tuple[int, ...]:
        """The numbers in a text: its own, the copied one, the class."""
        return tuple(map(int, str(content).split()))

    def encode(self, prepared: Sequence[tuple[int, ...]]) -> Mapping[str, np.ndarray]:
        """Texts' numbers (b, 3) → vectors (b, d)."""
        numbers, copied, classes = np.array(prepared, np.int64).T
        points = noise(copied) + self.classes[classes] + NEARLY * noise(numbers + (1 << 40))
        return {"last": np.tanh(points @ self.layer + self.shift)}


def noise(numbers: np.ndarray) -> np.ndarray:
    """Numbers (b,) → (b, LATENT) float32 of mean 0 and variance 1, by the finalizer of splitmix64."""
    bits = (numbers[:, None] * LATENT + np.arange(LATENT)).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
    uniform = ((bits ^ (bits >> np.uint64(31))) >> np.uint64(40)).astype(np.float32) / (1 << 24)
    return (uniform - 0.5) * np.float32(12**0.5)
