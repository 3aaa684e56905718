"""Which of a network's parameters are trained in each epoch of a fine-tuning."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from torch import Tensor, nn

from icebox.features.nn import blocks, freezing, partial_forward
from icebox.features.nn.backbone import TorchBackbone
from icebox.features.nn.layer_outputs import Inputs
from icebox.pipeline.adapters import lora
from icebox.pipeline.config.unfreeze import Lora, UnfreezeOptions


@dataclass(frozen=True)
class FreezingSchedule:
    """The network's blocks in the order of the forward pass, and the names of the free parameters in each epoch."""

    blocks: list[str]
    free_parameters: list[set[str]]

    def parameters_trained(self, network: nn.Module) -> int:
        """How many of the network's numbers learn in some epoch."""
        free = set().union(*self.free_parameters)
        return sum(parameter.numel() for name, parameter in network.named_parameters() if name in free)

    @classmethod
    def for_backbone(cls, backbone: TorchBackbone, options: UnfreezeOptions, inputs: Inputs) -> Self:
        """The schedule of `options.free`; the `inputs` of a few items are passed to find the blocks.

        With LoRA the network gets its adapters here.
        """
        network = backbone.layer_outputs.network

        def run() -> Iterable[Tensor]:
            return backbone.layer_outputs.tensors(inputs).values()

        order = blocks.names(network, run)
        if isinstance(options.free, Lora):
            return cls(order, [lora.add(network, options.free, order, run, seed=options.seed)] * options.epochs)
        free_by_epoch = freezing.free_by_epoch(options.free, options.epochs)
        return cls(order, [freezing.free_parameters(free, network, order) for free in free_by_epoch])

    @property
    def last_frozen_block(self) -> str | None:
        """The last block of the part that is never trained; None where there is no such part."""
        return partial_forward.last_frozen_block(self.blocks, set().union(*self.free_parameters))
