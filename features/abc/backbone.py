"""The interface of a backbone family. Its file defines:

- `VERSION`: an integer, raised whenever the file's features change; part of the fingerprint.
- `fetch(folder, *, …)`: fill `folder` with weights and all else that `load` needs; its keywords are the settings.
  Families that are trained here have `pretraining(*, …)` (see `Pretraining`) instead; `data: Examples` among its
  keywords says that it takes a dataset.
- `load(folder, *, outputs, device, precision)`: the network, frozen, in eval mode, ready to encode. `precision` is
  "float32", "bfloat16" or "float16"; a family without a network has no use for it.
- `text_tower(folder, *, device)`, where its `embedding` may lie in one space with those of texts: see `TextTower`.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from icebox.features.abc.dataset import Content, Modality
from icebox.features.abc.quantized_network import QuantizedNetwork
from icebox.features.errors import IceboxError
from icebox.features.json_files import Shape, one_line, read_json
from icebox.features.ragged import Values

if TYPE_CHECKING:  # a family without a network must not cost the two seconds of importing torch
    import numpy as np
    import torch
    from torch import nn
    from torch.optim import Optimizer

SETTINGS_FILE = "backbone.json"
WEIGHTS_FILE = "weights.safetensors"
TORCH = "torch"  # the runtime of every network unless another is asked for


class Backbone(ABC):
    """A frozen network without its last layer: content in, one vector per requested output out."""

    modality: ClassVar[Modality]
    takes_pairs: ClassVar[bool] = False  # prepare also takes a Pair of texts, as one input
    whole_shards: ClassVar[bool] = False  # encode wants all items of a shard at once, to batch them by their length
    runtimes: ClassVar[tuple[str, ...]] = ()  # besides torch, by which encode can run
    outputs: tuple[str, ...]  # the names under which encode returns its arrays

    @property
    @abstractmethod
    def spec(self) -> dict[str, Any]:
        """All that determines a feature, as JSON: family, version, weights' sha256, preprocess, outputs, precision."""

    @abstractmethod
    def prepare(self, content: Content) -> Any:
        """An item's content → its part of a batch (decode and resize, or tokenize). Runs in threads beside the network.

        Raises ItemError for content that can't be read.
        """

    def was_cut(self, prepared: Any) -> bool:
        """Whether a prepared item was truncated: its content was longer than the network takes."""
        return False

    def is_mostly_unknown(self, prepared: Any) -> bool:
        """Whether more than half of a prepared item's tokens are the one that stands for all unknown words."""
        return False

    def prepare_framed(self, content: Content) -> Any:
        """Like `prepare`, for a crop of an item's image: a family that otherwise keeps the centre keeps all of it."""
        return self.prepare(content)

    @abstractmethod
    def encode(self, prepared: Sequence[Any]) -> Mapping[str, Values]:
        """A batch of b prepared items → {output: float32 (b, …)}. No row depends on its batch-mates."""

    def begin(self, prepared: Sequence[Any]) -> Iterator[tuple[Sequence[int], Callable[[], Mapping[str, Values]]]]:
        """Like `encode`, in sub-batches: yields (row positions, a function that waits for their features).

        A sub-batch is started when the iterator is advanced: on a GPU the next one may be started while it runs.
        """
        features = self.encode(prepared)
        yield range(len(prepared)), lambda: features

    @contextmanager
    def side_by_side(self, threads: int | None = None) -> Iterator[int]:
        """While it is open, passes may run beside each other on so many threads, by default all that torch would take.

        Yields the number of sub-batches that `begin` may have begun before one is waited for.
        """
        yield 1

    def use_runtime(self, runtime: str) -> None:
        """Run `encode` by this runtime from now on, and say so in `spec`. Raises IceboxError where it can't."""
        if runtime != TORCH and runtime not in self.runtimes:
            family = self.spec["family"]
            raise IceboxError(f"runtime: {runtime} is not for backbones of family '{family}'; take torch or auto")

    def quantized(self, prepared: Sequence[Any]) -> QuantizedNetwork:
        """This network, in float32, in int8, calibrated on prepared items. Raises IceboxError where it can't be."""
        raise IceboxError(f"precision: int8 is not for backbones of family '{self.spec['family']}'; take auto")

    def use_quantized(self, network: QuantizedNetwork | None) -> None:
        """Run `encode` by a network that `quantized` made of this one, and say so in `spec`; None: as before."""
        raise IceboxError(f"precision: int8 is not for backbones of family '{self.spec['family']}'; take auto")

    def compile(self, batch_size: int | None) -> bool:
        """Compile `encode` for batches of this size → True; False where that can't be done. None undoes it → False."""
        return False


@dataclass(frozen=True)
class TextTower:
    """The encoder of texts into the space of a backbone's `embedding`, which is its own output of that name.

    Logits are `logit_scale` × the cosine of both + `logit_bias`; None where the network was not trained by them.
    """

    encoder: Backbone
    logit_scale: float | None = None
    logit_bias: float = 0.0


class Pretraining(ABC):
    """The training of a family that starts from random weights; `pipeline/training/pretrain_loop.py` runs the loop.

    The loop seeds torch before each step from `seed` and the step's index, so that no random state has to be stored:
    a step may draw from torch's own generator, on any device.
    """

    network: "nn.Module"
    seed: int
    steps: int

    @property
    @abstractmethod
    def parts(self) -> dict[str, "nn.Module | Optimizer"]:
        """Everything that a step changes, by name, the network included; a checkpoint holds their states."""

    @abstractmethod
    def step(self, index: int) -> float:
        """Draw batch `index`, take one optimizer step, return the loss."""

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """Scores on held-out data, by name."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The settings that `load` needs besides the weights to build the same network, as JSON."""

    def files(self) -> dict[str, str]:
        """Further texts that `load` needs beside the weights (a vocabulary), by file name."""
        return {}

    @property
    def device(self) -> "torch.device":
        """The network's device; the loop moves the parts to that of the run."""
        return next(self.network.parameters()).device


class Generator(ABC):
    """Generates new items. A family that can has `generator(folder, *, device)` in its file."""

    modality: ClassVar[Modality]
    classes: tuple[str, ...] = ()  # that items can be generated for; none where the family is unconditional

    @abstractmethod
    def make(self, labels: Sequence[str], *, seed: int) -> list[Content]:
        """Generate an item for each label: one of `classes`, or "" where there are none."""

    def comparison_rows(self, contents: Sequence[Content], *, seed: int) -> dict[str, list[list[Content]]]:
        """Further rows for the contact sheet, by name, made from these items of the test split (reconstructions …)."""
        return {}


class ImageJudge(ABC):
    """A classifier that scores generated images. A family that is one has `judge(folder, *, device)` in its file."""

    @abstractmethod
    def features_and_labels(self, contents: Sequence[Content]) -> "tuple[np.ndarray, list[str]]":
        """n images → features (n, d) and n predicted labels."""


class TextJudge(ABC):
    """A language model that scores generated texts. A family that is one has `judge(folder, *, device)`."""

    @abstractmethod
    def perplexity(self, contents: Sequence[Content]) -> float:
        """The perplexity per word of these texts, each read from its beginning."""


def write_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Write the backbone's settings beside its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")


def read_settings(folder: Path, **shapes: Shape) -> dict[str, Any]:
    """The settings that `fetch` or `pretrain` left in the backbone's folder; `shapes` are those of its values.

    Raises IceboxError for a file that is missing or damaged.
    """
    settings: dict[str, Any] = read_json(
        folder / SETTINGS_FILE, shapes or dict, hint="make the backbone again", backbone=folder.name
    )
    return settings


@contextmanager
def damage_explained(folder: Path) -> Iterator[None]:
    """Turn whatever goes wrong while a network is built from the files in `folder` into an IceboxError."""
    try:
        yield
    except IceboxError:
        raise
    except Exception as reason:  # safetensors, torch and transformers raise dozens of kinds for damaged files
        problem = f"{type(reason).__name__}: {one_line(reason)}"
        raise IceboxError(
            f"{folder}: can't be loaded ({problem}); its files are damaged, or not this family's",
            hint="make the backbone again",
            backbone=folder.name,
        ) from reason
