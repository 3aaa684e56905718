"""A backbone, the store's number format and a head as one network of tensors: prepared items in, answers out.

Letters: b batch, c channels, h height, w width, t tokens, d features, k classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from icebox.features.abc.backbone import Backbone
from icebox.features.errors import IceboxError
from icebox.pipeline.export.graph.heads import HeadNetwork, network_of
from icebox.pipeline.export.graph.inputs import Arrays, front_of
from icebox.pipeline.inference.bundle import Bundle


@dataclass(frozen=True)
class ExportedNetwork:
    """`module` takes tensors of these `names`, of any number of items (and tokens), and returns scores, answers and
    features. `arrays` puts prepared items into the arrays of these names. `example` are such tensors."""

    module: nn.Module
    head: HeadNetwork
    names: tuple[str, ...]
    example: tuple[Tensor, ...]
    tokens: bool
    arrays: Callable[[Sequence[Any]], Arrays]

    @property
    def outputs(self) -> tuple[str, str, str]:
        """The names of what it returns."""
        return self.head.kind, "labels" if self.head.task == "multilabel" else "label", "features"


class Whole(nn.Module):
    """The inputs of a backbone's passes, the passes, and the head."""

    def __init__(self, inputs: nn.Module, features: nn.Module, head: HeadNetwork) -> None:
        super().__init__()
        self.inputs, self.features, self.head = inputs, features, head

    def forward(self, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Prepared items → scores (b, k), answers (b,), features (b, d)."""
        features = self.features(*self.inputs(*tensors))
        scores, answers = self.head(features)
        return scores, answers, features


class Features(nn.Module):
    """The features (b, d) that a head takes: some of a network's outputs side by side, in the store's number format."""

    def __init__(self, network: nn.Module, positions: Sequence[int], *, rounded: bool) -> None:
        super().__init__()
        self.network, self.positions, self.rounded = network, tuple(positions), rounded

    def forward(self, *tensors: Tensor) -> Tensor:
        """Inputs of the network → (b, d) float32."""
        outputs = self.network(*tensors)
        parts = [outputs[position].flatten(1) for position in self.positions]
        return torch.cat([in_half(part) if self.rounded else part for part in parts], dim=1)


def in_half(values: Tensor) -> Tensor:
    """float32 (b, d), rounded to float16 in each row that keeps its precision there: see `to_storage_dtype`."""
    half = np.finfo(np.float16)
    largest = values.abs().amax(1, keepdim=True)
    fits = (largest <= float(half.max)) & ((largest >= float(half.smallest_normal)) | (largest == 0))
    return torch.where(fits, values.half().float(), values)


def network_for(opened: Bundle, backbone: Any, contents: Sequence[Any]) -> ExportedNetwork:
    """The whole network of a head. `contents` are some prepared items, by which its inputs are learned.

    Raises IceboxError, in one line, for what has no such form.
    """
    refuse(opened, backbone)
    head = network_of(opened.head, task=opened.task, classes=len(opened.classes))
    front = front_of(backbone, contents)
    positions = [list(backbone.outputs).index(name) for name in opened.head_outputs or opened.outputs]
    features = Features(front.network, positions, rounded=opened.stored == "float16")
    module = Whole(front.inputs, features, head).eval()
    example = tuple(torch.from_numpy(each) for each in front.arrays(list(contents[:2])).values())
    return ExportedNetwork(module, head, front.names, example, backbone.modality == "text", front.arrays)


def refuse(opened: Bundle, backbone: Any) -> None:
    """Raise IceboxError for what an export can't hold, and say why."""
    reason = ""
    if opened.members or not isinstance(backbone, Backbone):
        reason = "several networks, each with its own items; export a head of one store"
    elif opened.task in ("segmentation", "detection"):
        reason = f"a head of {opened.task} answers with pictures; only answers of one item each are exported"
    elif opened.basis is not None:
        reason = "maps projected on principal components"
    elif opened.view == "pair":
        reason = "two texts that pass one after the other (pairs: siamese); take pairs in one input"
    elif opened.view != "identity":
        reason = f"items in the view {opened.view}; fit a head on the view identity"
    elif any(output.endswith(":tokens") for output in opened.head_outputs or opened.outputs):
        reason = "a vector for each token, not one for each item"
    if reason:
        raise IceboxError(f"no export: {reason}")
