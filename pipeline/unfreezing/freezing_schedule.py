"""Which of a network's parameters are trained in each epoch of a fine-tuning."""

from dataclasses import dataclass
from typing import Self

from icebox.features.nn import blocks, freezing, partial_forward
from icebox.features.nn.backbone import TorchBackbone
from icebox.features.nn.layer_outputs import Inputs
from icebox.pipeline.config.unfreeze import UnfreezeOptions


@dataclass(frozen=True)
class FreezingSchedule:
    """The network's blocks in the order of the forward pass, and the names of the free parameters in each epoch."""

    blocks: list[str]
    free_parameters: list[set[str]]

    @classmethod
    def for_backbone(cls, backbone: TorchBackbone, options: UnfreezeOptions, inputs: Inputs) -> Self:
        """The schedule of `options.free`; the `inputs` of a few items are passed to find the blocks."""
        network = backbone.layer_outputs.network
        order = blocks.names(network, lambda: backbone.layer_outputs.tensors(inputs).values())
        free_by_epoch = freezing.free_by_epoch(options.free, options.epochs)
        return cls(order, [freezing.free_parameters(free, network, order) for free in free_by_epoch])

    @property
    def last_frozen_block(self) -> str | None:
        """The last block of the part that is never trained; None where there is no such part."""
        return partial_forward.last_frozen_block(self.blocks, set().union(*self.free_parameters))
