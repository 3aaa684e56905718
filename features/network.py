"""A backbone that is a torch network: how a batch becomes its inputs is said once, for extracting and unfreezing."""

import math
import sys
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from features.backbones.base import Backbone
from features.capture import Capture, Inputs
from features.ragged import Scattered, Values

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

    @torch.inference_mode()  # inputs too: torch.compile would compile again for those made outside of it
    def encode(self, prepared: Sequence[Any]) -> dict[str, Values]:
        """b prepared items → {output: float32 (b, …)}, in one forward pass, or on a processor in a few."""
        size = self.at_once(prepared[:1])
        found = Scattered(len(prepared))
        for start in range(0, len(prepared), size):
            part = prepared[start : start + size]
            found.put(range(start, start + len(part)), self.capture(self.inputs(part)))
        return found.features()

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
