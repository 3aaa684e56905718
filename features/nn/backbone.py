"""The base class of backbones that are torch networks; extraction and unfreezing share its `inputs`."""

import math
import sys
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import save_file
from torch import nn

from icebox.features.abc.backbone import TORCH, WEIGHTS_FILE, Backbone, write_settings
from icebox.features.abc.quantized_network import INT8, QuantizedNetwork
from icebox.features.errors import IceboxError
from icebox.features.nn.embeddings import Embedding
from icebox.features.nn.layer_outputs import Inputs, LayerOutputs
from icebox.features.nn.runtimes import int8, onnxruntime, openvino
from icebox.features.nn.runtimes.graph import Session
from icebox.features.nn.runtimes.streams import Streams
from icebox.features.nn.transfer import plain_state
from icebox.features.ragged import ScatteredRows, Values

# A layer's output should still be in the processor's cache when the next layer reads it. With 32 images of 224×224 at
# once instead of 8, ResNet-18 takes a sixth longer for each, ResNet-50 and ConvNeXt a quarter, EfficientNet-B0 a half.
CACHE_BYTES = 24 << 20

INDUCTOR = "inductor"
OPENVINO = "openvino"
OUTSIDE_TORCH = {OPENVINO: openvino, "onnxruntime": onnxruntime}


class TorchBackbone(Backbone):
    """A backbone around `layer_outputs.network`, frozen, in eval mode, until unfreezing frees parts of it.

    `spec` takes family, version and all else that determines a feature; outputs and precision are added here.
    `settings` is what `load` reads besides the weights: `save` writes it. `embedding` gives the output of that name;
    `loaded_in_precision`, `features_last`: see LayerOutputs.
    """

    runtimes: ClassVar[tuple[str, ...]] = (INDUCTOR, *OUTSIDE_TORCH)
    reentrant: ClassVar[bool] = False  # `inputs` and copies of the network may run in several threads at once

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
        features_last: Collection[str] = (),
    ) -> None:
        self.outputs, self.settings, self.device = tuple(outputs), settings, device
        self.layer_outputs = LayerOutputs(
            network,
            self.outputs,
            precision=precision,
            embedding=embedding,
            loaded_in_precision=loaded_in_precision,
            features_last=features_last,
        )
        self._spec = {**spec, "outputs": list(outputs), "precision": precision}
        self._sub_batch_size: int | None = None
        self._runtime = TORCH
        self._quantized = ""  # the digest of the network in int8
        self._sessions: dict[str, Session] = {}  # a conversion takes seconds
        self._streams: Streams | None = None

    @property
    def spec(self) -> dict[str, Any]:
        """All that determines a feature, as JSON; a runtime only where it is not torch itself."""
        quantized = {"precision": INT8, "quantized": self._quantized} if self._quantized else {}
        return self._spec | quantized | ({} if self._runtime == TORCH else {"runtime": self._runtime})

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
        streams = self._open_streams() if len(prepared) > 1 else None  # a lone item has all threads
        passes = self.sub_batches(prepared)
        features = ScatteredRows(len(prepared))
        for rows, wait_for_features in list(self._begin(prepared, spread(passes, streams), streams)):
            features.put(rows, wait_for_features())
        return features.features()

    def begin(self, prepared: Sequence[Any]) -> Iterator[tuple[Sequence[int], Callable[[], Mapping[str, Values]]]]:
        """Like `encode`, in sub-batches: yields (row positions, a function that waits for their features)."""
        yield from self._begin(prepared, self.sub_batches(prepared), self._open_streams())

    @torch.inference_mode()  # inputs too: torch.compile would compile again for those made outside of it
    def _begin(
        self, prepared: Sequence[Any], passes: Sequence[Sequence[int]], streams: Streams | None
    ) -> Iterator[tuple[Sequence[int], Callable[[], Mapping[str, Values]]]]:
        for rows in passes:
            inputs = partial(self.inputs, [prepared[row] for row in rows])
            yield rows, self.layer_outputs.begin(inputs()) if streams is None else streams.begin(inputs)

    def _open_streams(self) -> Streams | None:
        return self._streams if self.layer_outputs.is_eager else None

    @contextmanager
    def side_by_side(self, threads: int | None = None) -> Iterator[int]:
        """See `Backbone.side_by_side`: on a processor each pass of torch itself then runs on one thread."""
        devices = {parameter.device.type for parameter in self.layer_outputs.network.parameters()}
        # others than the processor: a GPU, or weights that are on disk until a pass needs them
        if not self.reentrant or self._streams is not None or devices != {"cpu"}:
            yield 1
            return
        count = threads or torch.get_num_threads()
        with Streams(self.layer_outputs, count) as self._streams:
            try:
                yield count
            finally:
                self._streams = None

    def sub_batches(self, prepared: Sequence[Any]) -> Sequence[Sequence[int]]:
        """Positions of the items of each forward pass: on a GPU all b at once, on a CPU a few at a time."""
        size = self.sub_batch_size(prepared[:1])
        return [range(start, min(start + size, len(prepared))) for start in range(0, len(prepared), size)]

    def sub_batch_size(self, sample: Sequence[Any]) -> int:
        """Number of items that share a forward pass: a power of two, equal on all CPUs. `sample` is one item."""
        if self._sub_batch_size is None:
            items = sys.maxsize
            inputs = self.inputs(sample)
            if self._network_device().type == "cpu":
                items = CACHE_BYTES // max(self.layer_outputs.largest_output_bytes(inputs), 1)
            self._sub_batch_size = 1 << int(math.log2(max(items, 1)))
        return self._sub_batch_size

    def use_runtime(self, runtime: str) -> None:
        """Run the network by `runtime` from now on, and say so in `spec`; "inductor" is what `compile` does, later.

        Networks of pictures take batches of one size, others any number of items of any length. Raises IceboxError for
        a runtime that this network, device or precision is not for.
        """
        super().use_runtime(runtime)
        if self._quantized:
            if runtime != OPENVINO:
                raise IceboxError(f"runtime: {runtime} does not compute in int8; take openvino")
            return
        if runtime == INDUCTOR and not self.compile(1):
            raise IceboxError("runtime: inductor is for networks of pictures; take torch or auto")
        self.layer_outputs.compile(None)
        if runtime in OUTSIDE_TORCH and runtime not in self._sessions:
            self._refuse_other_device(f"runtime: {runtime}")
            module, precision = OUTSIDE_TORCH[runtime], str(self._spec["precision"])
            module.refuse(precision)
            self._sessions[runtime] = Session(
                runtime, module.BUILDS, self.layer_outputs, precision=precision, batch_size=self._fixed_batch_size
            )
        self.layer_outputs.session = self._sessions.get(runtime)
        self._runtime = runtime

    def quantized(self, prepared: Sequence[Any]) -> QuantizedNetwork:
        """The network in int8, calibrated on b prepared items: whole batches where there are enough."""
        self._refuse_other_device("precision: int8")
        rows = self.sub_batches(prepared)
        batches = [self.inputs([prepared[row] for row in of_batch]).tensors() for of_batch in rows]
        return int8.quantize(self.layer_outputs, batches, batch_size=self._fixed_batch_size())

    def use_quantized(self, network: QuantizedNetwork | None) -> None:
        """Run this network in int8 from now on; None: in its own precision again, by torch."""
        self._quantized = ""
        self.use_runtime(TORCH)
        if network is None:
            return
        self._refuse_other_device("precision: int8")
        self.layer_outputs.session = Session(
            OPENVINO,
            [partial(int8.build, network)],
            self.layer_outputs,
            precision=INT8,
            batch_size=self._fixed_batch_size,
        )
        self._quantized, self._runtime = network.digest, OPENVINO

    def _refuse_other_device(self, what: str) -> None:
        if self._network_device().type != "cpu":
            raise IceboxError(f"{what} runs on the processor, not on {self.device}; take torch or auto")

    def _fixed_batch_size(self) -> int | None:
        return self._sub_batch_size if self.modality == "image" else None

    def _network_device(self) -> torch.device:
        return next(self.layer_outputs.network.parameters()).device

    def compile(self, batch_size: int | None) -> bool:
        """Compile the network for batches of at most this size (see LayerOutputs.compile); False where it can't."""
        if self.layer_outputs.session:
            return False
        return self.layer_outputs.compile(batch_size and min(batch_size, self._sub_batch_size or batch_size))


def spread(passes: Sequence[Sequence[int]], streams: Streams | None) -> list[Sequence[int]]:
    """Passes, the largest halved until there is one for each stream."""
    split = list(passes)
    while streams is not None and len(split) < streams.count:
        largest = max(range(len(split)), key=lambda number: len(split[number]))
        rows = split[largest]
        if len(rows) == 1:
            break
        split[largest : largest + 1] = [rows[: len(rows) // 2], rows[len(rows) // 2 :]]
    return split
