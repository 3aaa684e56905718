"""What a backbone family's file holds.

- `VERSION`: an integer, raised whenever the file's features change; part of the fingerprint.
- `fetch(folder, *, …)`: fill `folder` with weights and all else that `load` needs; its keywords are the settings.
  Families that are trained here have `pretraining(*, …)` (see `Pretraining`) instead; `data: Examples` among its
  keywords says that it takes a dataset.
- `load(folder, *, outputs, device, precision)`: the network, frozen, in eval mode, ready to encode. `precision` is
  "float32", "bfloat16" or "float16"; a family without a network has no use for it.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from icebox.features.abc.dataset import Content, Modality
from icebox.features.ragged import Values

if TYPE_CHECKING:  # a family without a network must not cost the two seconds of importing torch
    import numpy as np
    import torch
    from torch import nn
    from torch.optim import Optimizer

SETTINGS_FILE = "backbone.json"
WEIGHTS_FILE = "weights.safetensors"


class Backbone(ABC):
    """A frozen network without its last layer: content in, one vector per requested output out."""

    modality: ClassVar[Modality]
    takes_pairs: ClassVar[bool] = False  # prepare also takes a Pair of texts, as one input
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

    def was_cut(self, prepared: Any) -> bool:
        """Whether a prepared item is only the beginning of its content, which was longer than the network takes."""
        return False

    def prepare_framed(self, content: Content) -> Any:
        """As prepare, of a picture cut out of an item's: a family that keeps only the centre must keep all of it."""
        return self.prepare(content)

    @abstractmethod
    def encode(self, prepared: Sequence[Any]) -> Mapping[str, Values]:
        """A batch of b prepared items → {output: float32 (b, …)}. No row depends on its batch-mates."""

    def begin(self, prepared: Sequence[Any]) -> Iterator[tuple[Sequence[int], Callable[[], Mapping[str, Values]]]]:
        """The same in the parts in which b items pass: (their positions, what waits for their features and gives them).

        A part is started when it is asked for: on a GPU another may be asked for while it runs.
        """
        features = self.encode(prepared)
        yield range(len(prepared)), lambda: features

    def compile(self, batch_size: int | None) -> bool:
        """Have encode run compiled on batches of this size, or plainly again with None; False where it can't."""
        return False


class Pretraining(ABC):
    """How a family of our own is trained. `pipeline/training/pretrain_loop.py` runs the loop.

    It seeds torch before each step from `seed` and the step's index, so that nothing random is left to be stored: a
    step may draw from torch's own generator, on any device.
    """

    network: "nn.Module"
    seed: int
    steps: int

    @property
    @abstractmethod
    def parts(self) -> dict[str, "nn.Module | Optimizer"]:
        """All that a step changes, by name, the network among them: what a checkpoint has to hold."""

    @abstractmethod
    def step(self, index: int) -> float:
        """Draw batch `index`, take one optimiser step, return the loss."""

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """Scores on held-out data, by name."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What `load` needs besides the weights to build the same network, as JSON."""

    def files(self) -> dict[str, str]:
        """Further texts that `load` needs beside the weights (a vocabulary), by file name."""
        return {}

    @property
    def device(self) -> "torch.device":
        """Where the network is; the loop moves the parts to a GPU where there is one."""
        return next(self.network.parameters()).device


class Generator(ABC):
    """The half of some families of ours that makes new items; such a file has `generator(folder, *, device)`."""

    modality: ClassVar[Modality]
    classes: tuple[str, ...] = ()  # those that may be asked for; none where the family can't be told what to make

    @abstractmethod
    def make(self, labels: Sequence[str], *, seed: int) -> list[Content]:
        """A new item for each label, which is one of `classes`, or "" where there are none."""

    def sheets(self, contents: Sequence[Content], *, seed: int) -> dict[str, list[list[Content]]]:
        """Rows of items worth seeing beside the new ones, by name, made from these items of the test split."""
        return {}


class ImageJudge(ABC):
    """What a classifier of ours sees in pictures; such a file has `judge(folder, *, device)`."""

    @abstractmethod
    def seen(self, contents: Sequence[Content]) -> "tuple[np.ndarray, list[str]]":
        """n pictures → features (n, d), and the label read from each."""


class TextJudge(ABC):
    """What a language model of ours makes of texts; such a file has `judge(folder, *, device)`."""

    @abstractmethod
    def perplexity(self, contents: Sequence[Content]) -> float:
        """Of every word of these texts, each read from its beginning."""


def write_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Write the backbone's description beside its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")


def read_settings(folder: Path) -> dict[str, Any]:
    """The description that `fetch` or `pretrain` left in the backbone's folder."""
    settings: dict[str, Any] = json.loads((folder / SETTINGS_FILE).read_text())
    return settings
