"""Backbone and head as one trainable module."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from icebox.features.nn.backbone import TorchBackbone
from icebox.features.nn.layer_outputs import Inputs


class EndToEndModel(nn.Module):
    """Computes the features of b items and passes them to the head."""

    def __init__(self, backbone: TorchBackbone, head: nn.Module) -> None:
        super().__init__()
        backbone.layer_outputs.make_trainable()
        self.layer_outputs = backbone.layer_outputs
        self.network = backbone.layer_outputs.network
        self.head = head

    def forward(self, inputs: Sequence[Inputs]) -> Tensor:
        """Inputs of b items (of siamese pairs: those of the first texts, then of the second) → scores (b, k)."""
        u, *second = (self.features(part) for part in inputs)
        for v in second:
            u = torch.cat([u, v, (u - v).abs(), u * v], dim=1)  # the order of features/text/pairs.py
        scores: Tensor = self.head(u)
        return scores

    def features(self, inputs: Inputs) -> Tensor:
        """Features (b, d): every output flattened and concatenated, in the order of `FeatureStore.load`."""
        outputs: dict[str, Any] = self.layer_outputs.tensors(inputs)
        return torch.cat([values.flatten(1) for values in outputs.values()], dim=1)
