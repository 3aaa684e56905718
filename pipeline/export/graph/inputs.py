"""Prepared items as inputs of a backbone's network: which tensors they are, and what is computed of them before it.

Letters: b batch, c channels, h height, w width, t tokens, d features.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from icebox.features.backbones import rnn_lm, transformers
from icebox.features.backbones.pixels import PixelsBackbone
from icebox.features.errors import IceboxError
from icebox.features.nn.backbone import TorchBackbone
from icebox.features.nn.layer_outputs import MASK as POOLING_MASK
from icebox.features.nn.layer_outputs import Inputs
from icebox.features.nn.runtimes.graph import OnePass

IMAGES, IDS, MASK, SIDES = "images", "input_ids", "attention_mask", "token_type_ids"
AFFINE_TOLERANCE = 1e-4  # of a normalized pixel
Arrays = dict[str, np.ndarray]


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
