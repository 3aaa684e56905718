"""A backbone, the store's number format and a head as one network of tensors: prepared items in, answers out.

Letters: b batch, c channels, h height, w width, t tokens, d features, k classes.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from icebox.features.abc.backbone import Backbone
from icebox.features.backbones import rnn_lm, transformers
from icebox.features.backbones.pixels import PixelsBackbone
from icebox.features.errors import IceboxError
from icebox.features.nn.backbone import TorchBackbone
from icebox.features.nn.layer_outputs import MASK as POOLING_MASK
from icebox.features.nn.layer_outputs import Inputs
from icebox.features.nn.runtimes.graph import OnePass
from icebox.pipeline.export.heads import HeadNetwork, network_of
from icebox.pipeline.inference.bundle import Bundle

IMAGES, IDS, MASK, SIDES = "images", "input_ids", "attention_mask", "token_type_ids"
AFFINE_TOLERANCE = 1e-4  # of a normalized pixel
Arrays = dict[str, np.ndarray]


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


class Pictures(nn.Module):
    """uint8 (b, c, h, w) or (b, h, w) → the network's input, an affine map of each channel, and its tokens' mask."""

    scale: Tensor
    shift: Tensor
    mask: Tensor

    def __init__(self, scale: np.ndarray, shift: np.ndarray, mask: Tensor | None) -> None:
        super().__init__()
        for name, values in (("scale", scale), ("shift", shift)):
            self.register_buffer(name, torch.from_numpy(values.astype(np.float32))[:, None, None])
        self.masked = mask is not None
        self.register_buffer("mask", torch.zeros(1, 1) if mask is None else mask)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(b, c, h, w) → (b, c, h, w) float32."""
        images = images if images.ndim == 4 else images[:, None]
        normalized = images.float() * self.scale + self.shift
        return (normalized, self.mask.expand(images.shape[0], -1)) if self.masked else (normalized,)


class Tokens(nn.Module):
    """Token ids and their mask (b, t) → what a text network takes: see its family's `inputs`.

    `prompt`: tokens at the beginning that are left out of the poolings. `end_first`: the first token counts only where
    it is alone. `masked`: whether the network itself takes the mask.
    """

    def __init__(self, *, prompt: int, end_first: bool, masked: bool) -> None:
        super().__init__()
        self.prompt, self.end_first, self.masked = prompt, end_first, masked

    def forward(self, ids: Tensor, mask: Tensor, *sides: Tensor) -> tuple[Tensor, ...]:
        """(b, t) each → the tensors of the network's pass, in the order of their names."""
        lengths = mask.sum(1, keepdim=True)
        positions = torch.arange(mask.shape[1], device=mask.device)
        pooling = mask
        if self.prompt:
            pooling = mask * (positions >= torch.clamp(lengths - 1, max=self.prompt)).long()
        if self.end_first:
            pooling = mask * ((positions > 0) | (lengths == 1)).long()
        return (ids, mask, *sides, pooling) if self.masked else (ids, *sides, pooling)


class Given(nn.Module):
    """Inputs as they are."""

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """(b, …) each."""
        return tensors


class Floor(nn.Module):
    """The numbers of items themselves, flattened; 8-bit ones in 0..1."""

    def forward(self, items: Tensor) -> tuple[Tensor, ...]:
        """(b, …) → (b, d) float32."""
        values = items.float() / 255 if items.dtype == torch.uint8 else items
        return (values.flatten(1),)


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


@dataclass(frozen=True)
class Front:
    """The inputs of a backbone's network by `names`, as `arrays` makes them of prepared items; and the network."""

    names: tuple[str, ...]
    inputs: nn.Module
    network: nn.Module
    arrays: Callable[[Sequence[Any]], Arrays]


def front_of(backbone: Any, contents: Sequence[Any]) -> Front:
    """How a backbone's items go in. Raises IceboxError for a family whose network is no graph of tensors."""
    match backbone:
        case PixelsBackbone():
            return Front((IMAGES,), Given(), Floor(), picture_arrays)
        case TorchBackbone() if backbone.modality == "image":
            names = tuple(backbone.inputs(list(contents[:1])).tensors())
            return Front(
                (IMAGES,), pictures(backbone, contents), OnePass(backbone.layer_outputs, names), picture_arrays
            )
        case transformers.TransformersTextBackbone():
            return of_tokens(backbone, contents)
        case rnn_lm.LanguageModelBackbone():
            names = tuple(backbone.inputs(list(contents[:1])).tensors())
            tokens = Tokens(prompt=0, end_first=True, masked=False)
            return Front((IDS, MASK), tokens, as_graph(OnePass(backbone.layer_outputs, names)), word_arrays)
    raise IceboxError(f"no export: backbones of family {backbone.spec['family']} are no graph of tensors")


def as_graph(one_pass: OnePass) -> OnePass:
    """The pass of a language model in operators that hold for texts of any length: one table of all words' vectors,
    since those of rare words are otherwise looked up where there are some, and ONNX's own LSTM, since torch's exporter
    writes one for each length."""
    network: Any = copy.copy(one_pass.network)
    with torch.no_grad():
        table = network.embed(torch.arange(network.softmax.n_classes))
    network.embed = lambda tokens: functional.embedding(tokens, table)
    network.layers = nn.ModuleList([any_length(layer) for layer in network.layers])
    one_pass.network = network
    return one_pass


def any_length(layer: Any) -> Any:
    """An LSTM whose export is ONNX's operator; its hooks stay."""
    made, hidden = copy.copy(layer), layer.hidden_size

    def gates(values: Tensor) -> Tensor:
        """torch's order is input, forget, cell, output; ONNX's input, output, forget, cell."""
        kept, forget, cell, out = values.chunk(4)
        return torch.cat([kept, out, forget, cell])

    weight, recurrent = gates(layer.weight_ih_l0)[None], gates(layer.weight_hh_l0)[None]
    bias = torch.cat([gates(layer.bias_ih_l0), gates(layer.bias_hh_l0)])[None]

    def forward(x: Tensor, states: Any = None) -> tuple[Tensor, Any]:
        if not torch.compiler.is_exporting():
            outputs: tuple[Tensor, Any] = type(layer).forward(layer, x, states)
            return outputs
        hidden_states = torch.onnx.ops.symbolic(
            "LSTM",
            (x.transpose(0, 1), weight, recurrent, bias),
            {"hidden_size": hidden},
            dtype=torch.float32,
            shape=(x.shape[1], 1, x.shape[0], hidden),
        )  # (t, 1, b, hidden)
        return hidden_states[:, 0].transpose(0, 1), None

    made.forward = forward
    return made


def of_tokens(backbone: transformers.TransformersTextBackbone, contents: Sequence[Any]) -> Front:
    """The front of a transformer of texts or pairs."""
    kwargs = backbone.inputs(list(contents[:1])).kwargs
    sided, masked = SIDES in kwargs, MASK in kwargs

    def arrays(prepared: Sequence[Any]) -> Arrays:
        sides = [each.sides or [0] * len(each.ids) for each in prepared] if sided else None
        ids = [each.ids for each in prepared]
        return text_arrays(ids, padding=backbone.padding_id, width=backbone.padded_tokens, sides=sides)

    order = [IDS, *([MASK] if masked else []), *([SIDES] if sided else []), POOLING_MASK]
    inputs = Tokens(prompt=backbone.prompt_tokens, end_first=False, masked=masked)
    names = (IDS, MASK, SIDES) if sided else (IDS, MASK)
    return Front(names, inputs, OnePass(backbone.layer_outputs, order), arrays)


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


def pictures(backbone: TorchBackbone, contents: Sequence[Any]) -> Pictures:
    """How a family's `inputs` normalizes pictures, learned from a black and a white one and checked on real ones."""
    sample = np.asarray(contents[0])

    def inputs(pixels: np.ndarray) -> Inputs:
        prepared = torch.from_numpy(pixels) if isinstance(contents[0], Tensor) else pixels
        return backbone.inputs([prepared])

    black, white = (inputs(np.full_like(sample, value)).args[0][0].float().numpy() for value in (0, 255))
    shift, scale = black[:, 0, 0].astype(np.float64), (white - black)[:, 0, 0].astype(np.float64) / 255
    given = inputs(sample)
    found = Pictures(scale, shift, given.mask)
    mine = found(torch.from_numpy(np.array(sample))[None])[0]
    if given.kwargs or not torch.allclose(mine, given.args[0].float(), rtol=0, atol=AFFINE_TOLERANCE):
        raise IceboxError("no export: its pictures are not normalized by one factor and shift a channel")
    return found


def picture_arrays(prepared: Sequence[Any]) -> Arrays:
    """Prepared pictures → {"images": uint8 (b, …)}."""
    items = [next(iter(each.values())) if isinstance(each, dict) else each for each in prepared]
    return {IMAGES: np.stack([np.ascontiguousarray(each) for each in items])}


def word_arrays(prepared: Sequence[Sequence[int]]) -> Arrays:
    """Numbers of words → arrays (b, t)."""
    return text_arrays(prepared, padding=0, width=None, sides=None)


def text_arrays(
    ids: Sequence[Sequence[int]], *, padding: int, width: int | None, sides: Sequence[Sequence[int]] | None
) -> Arrays:
    """Token ids of b texts → arrays (b, t) int64, padded at the end."""
    width = width or max(map(len, ids))
    filled = np.full((len(ids), width), padding, np.int64)
    mask = np.zeros((len(ids), width), np.int64)
    of_sides = np.zeros((len(ids), width), np.int64)
    for i, row in enumerate(ids):
        filled[i, : len(row)], mask[i, : len(row)] = row, 1
        if sides is not None:
            of_sides[i, : len(row)] = sides[i]
    arrays = {IDS: filled, MASK: mask}
    return arrays if sides is None else arrays | {SIDES: of_sides}
