"""A backbone that is a torch network: how a batch becomes its inputs is said once, for extracting and unfreezing."""

import math
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from icebox.features.abc.backbone import Backbone
from icebox.features.nn.layer_outputs import Capture, Inputs
from icebox.features.ragged import ScatteredRows, Values

# What a layer gives should still be in the processor's cache when the next one takes it. With 32 pictures of 224×224 at
# once instead of 8, ResNet-18 takes a sixth longer for each, ResNet-50 and ConvNeXt a quarter, EfficientNet-B0 a half.
CACHE_BYTES = 24 << 20


class NetworkBackbone(Backbone):
    """The network is `capture.network`, frozen in eval mode until somebody frees parts of it."""

    capture: Capture
    _at_once: int | None = None

    @abstractmethod
    def inputs(self, prepared: Sequence[Any]) -> Inputs:
        """What the network is called with for b prepared items, on its device."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the network as it is now so that the family's `load` finds it in `folder`, like one fetched there."""

    def encode(self, prepared: Sequence[Any]) -> dict[str, Values]:
        """b prepared items → {output: float32 (b, …)}; of pooling `tokens` b arrays (t, d)."""
        found = ScatteredRows(len(prepared))
        for rows, features in self.begin(prepared):
            found.put(rows, features())
        return found.features()

    @torch.inference_mode()  # inputs too: torch.compile would compile again for those made outside of it
    def begin(self, prepared: Sequence[Any]) -> Iterator[tuple[Sequence[int], Callable[[], Mapping[str, Values]]]]:
        """The same in the parts in which they pass: (their positions, what waits for their features and gives them)."""
        for rows in self.parts(prepared):
            yield rows, self.capture.begin(self.inputs([prepared[row] for row in rows]))

    def parts(self, prepared: Sequence[Any]) -> Sequence[Sequence[int]]:
        """Which of b prepared items pass together: all, or on a processor a few after each other."""
        size = self.at_once(prepared[:1])
        return [range(start, min(start + size, len(prepared))) for start in range(0, len(prepared), size)]

    def at_once(self, one: Sequence[Any]) -> int:
        """How many items like this `one` pass together on this device: a power of two, the same on every processor."""
        if self._at_once is None:
            inputs = self.inputs(one)
            on_processor = next(self.capture.network.parameters()).device.type == "cpu"
            fitting = CACHE_BYTES // max(self.capture.largest_bytes(inputs), 1) if on_processor else sys.maxsize
            self._at_once = 1 << int(math.log2(max(fitting, 1)))
        return self._at_once

    def compile(self, batch_size: int | None) -> bool:
        """Compile the network, as Capture can."""
        return self.capture.compile(batch_size and min(batch_size, self._at_once or batch_size))
