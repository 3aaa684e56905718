"""The base class of backbones that are torch networks; extraction and unfreezing share its `inputs`."""

import math
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from icebox.features.abc.backbone import WEIGHTS_FILE, Backbone, write_settings
from icebox.features.nn.embeddings import Embedding
from icebox.features.nn.layer_outputs import Inputs, LayerOutputs
from icebox.features.nn.transfer import plain_state
from icebox.features.ragged import ScatteredRows, Values

# A layer's output should still be in the processor's cache when the next layer reads it. With 32 images of 224×224 at
# once instead of 8, ResNet-18 takes a sixth longer for each, ResNet-50 and ConvNeXt a quarter, EfficientNet-B0 a half.
CACHE_BYTES = 24 << 20


class TorchBackbone(Backbone):
    """A backbone around `layer_outputs.network`, frozen, in eval mode, until unfreezing frees parts of it.

    `spec` takes family, version and all else that determines a feature; outputs and precision are added here.
    `settings` is what `load` reads besides the weights: `save` writes it. `embedding` gives the output of that name;
    `loaded_in_precision`: see LayerOutputs.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        spec: dict[str, Any],
        settings: dict[str, Any],
        outputs: Sequence[str],
        precision: str,
        device: str,
        embedding: Embedding | None = None,
        loaded_in_precision: bool = False,
    ) -> None:
        self.outputs, self.settings, self.device = tuple(outputs), settings, device
        self.layer_outputs = LayerOutputs(
            network, self.outputs, precision=precision, embedding=embedding, loaded_in_precision=loaded_in_precision
        )
        self._spec = {**spec, "outputs": list(outputs), "precision": precision}
        self._sub_batch_size: int | None = None

    @property
    def spec(self) -> dict[str, Any]:
        """All that determines a feature, as JSON."""
        return self._spec

    @abstractmethod
    def inputs(self, prepared: Sequence[Any]) -> Inputs:
        """The arguments of the network's forward pass for b prepared items, on its device."""

    def save(self, folder: Path) -> None:
        """Write weights and settings so that the family's `load` finds the network as it is now in `folder`.

        Families whose `load` reads more files extend it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        save_file(plain_state(self.layer_outputs.network), folder / WEIGHTS_FILE)
        write_settings(folder, self.settings)

    def encode(self, prepared: Sequence[Any]) -> dict[str, Values]:
        """b prepared items → {output: float32 (b, …)}; with pooling `tokens` b arrays (t, d)."""
        features = ScatteredRows(len(prepared))
        for rows, wait_for_features in self.begin(prepared):
            features.put(rows, wait_for_features())
        return features.features()

    @torch.inference_mode()  # inputs too: torch.compile would compile again for those made outside of it
    def begin(self, prepared: Sequence[Any]) -> Iterator[tuple[Sequence[int], Callable[[], Mapping[str, Values]]]]:
        """Like `encode`, in sub-batches: yields (row positions, a function that waits for their features)."""
        for rows in self.sub_batches(prepared):
            yield rows, self.layer_outputs.begin(self.inputs([prepared[row] for row in rows]))

    def sub_batches(self, prepared: Sequence[Any]) -> Sequence[Sequence[int]]:
        """Positions of the items of each forward pass: on a GPU all b at once, on a CPU a few at a time."""
        size = self.sub_batch_size(prepared[:1])
        return [range(start, min(start + size, len(prepared))) for start in range(0, len(prepared), size)]

    def sub_batch_size(self, sample: Sequence[Any]) -> int:
        """Number of items that share a forward pass: a power of two, equal on all CPUs. `sample` is one item."""
        if self._sub_batch_size is None:
            items = sys.maxsize
            inputs = self.inputs(sample)
            if next(self.layer_outputs.network.parameters()).device.type == "cpu":
                items = CACHE_BYTES // max(self.layer_outputs.largest_output_bytes(inputs), 1)
            self._sub_batch_size = 1 << int(math.log2(max(items, 1)))
        return self._sub_batch_size

    def compile(self, batch_size: int | None) -> bool:
        """Compile the network for batches of at most this size (see LayerOutputs.compile); False where it can't."""
        return self.layer_outputs.compile(batch_size and min(batch_size, self._sub_batch_size or batch_size))
