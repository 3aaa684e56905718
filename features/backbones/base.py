"""What a backbone family's file holds.

- `VERSION`: an integer, raised whenever the file's features change; part of the fingerprint.
- `fetch(folder, *, …)`: fill `folder` with weights and all else that `load` needs. Its keywords are the keys of an
  entry of `backbones:` in params.yaml. Families that are trained here have `pretraining(*, …)` (see `Pretraining`)
  instead, and their keys stand under `pretrain:`.
- `load(folder, *, outputs, device, precision)`: the network, frozen, in eval mode, ready to encode. `precision` is
  "float32", "bfloat16" or "float16"; a family without a network has no use for it.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from features.datasets.base import Content, Modality

if TYPE_CHECKING:  # a family without a network must not cost the two seconds of importing torch
    from torch import nn

SETTINGS_FILE = "backbone.json"
WEIGHTS_FILE = "weights.safetensors"


class Backbone(ABC):
    """A frozen network without its last layer: content in, one vector per requested output out."""

    modality: ClassVar[Modality]
    whole_shards: ClassVar[bool] = False  # encode wants all items of a shard at once, to batch them by their length
    outputs: tuple[str, ...]  # the names under which encode returns its arrays

    @property
    @abstractmethod
    def spec(self) -> dict[str, Any]:
        """All that determines a feature, as JSON: family, version, weights' sha256, preprocess, outputs, precision."""

    @abstractmethod
    def prepare(self, content: Content) -> Any:
        """One item → what a batch is made of (decode and resize, or tokenise). Runs beside the network, in threads.

        Raises ItemError for content that can't be read.
        """

    @abstractmethod
    def encode(self, prepared: Sequence[Any]) -> dict[str, np.ndarray]:
        """A batch of b prepared items → {output: float32 (b, …)}. No row depends on its batch-mates."""

    def compile(self, batch_size: int | None) -> bool:
        """Have encode run compiled on batches of this size, or plainly again with None; False where it can't."""
        return False


class Pretraining(ABC):
    """How a family of our own is trained. `pipeline/pretrain.py` runs the loop; everything random comes from a seed."""

    network: "nn.Module"
    steps: int

    @abstractmethod
    def step(self, index: int) -> float:
        """Draw batch `index`, take one optimiser step, return the loss."""

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """Scores on held-out data, by name."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What `load` needs besides the weights to build the same network, as JSON."""


def write_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Write the backbone's description beside its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")


def read_settings(folder: Path) -> dict[str, Any]:
    """The description that `fetch` or `pretrain` left in the backbone's folder."""
    settings: dict[str, Any] = json.loads((folder / SETTINGS_FILE).read_text())
    return settings
