"""Backbone and head as one network, from prepared items to scores."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from icebox.features.nn.backbone import NetworkBackbone
from icebox.features.nn.layer_outputs import Inputs


class Whole(nn.Module):
    """What heads would see of b items goes straight into the head."""

    def __init__(self, backbone: NetworkBackbone, head: nn.Module) -> None:
        super().__init__()
        self.capture = backbone.capture
        self.network = backbone.capture.network
        self.head = head

    def forward(self, inputs: Sequence[Inputs]) -> Tensor:
        """The inputs of b items, or of their two texts each for itself → scores (b, k)."""
        u, *rest = (self.features(part) for part in inputs)
        for v in rest:
            u = torch.cat([u, v, (u - v).abs(), u * v], dim=1)  # as features/text/pairs.py lays them
        scores: Tensor = self.head(u)
        return scores

    def features(self, inputs: Inputs) -> Tensor:
        """(b, d): every output flattened, side by side, as `FeatureStore.load` lays them."""
        outputs: dict[str, Any] = self.capture.tensors(inputs)
        return torch.cat([values.flatten(1) for values in outputs.values()], dim=1)
