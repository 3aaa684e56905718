"""Other versions of the pictures of a batch, drawn anew in every epoch."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from icebox.features.nn.layer_outputs import Inputs

SCALE_MIN = 0.7  # of a side, that a random crop keeps at least
TURN_MAX = 15  # degrees


def augmented(inputs: Inputs, *, kinds: Sequence[str], generator: torch.Generator) -> Inputs:
    """Pictures (b, c, h, w): `flip` mirrors each with probability ½, `turn` turns each by up to 15° either way, `crop`
    takes a random part of it, of its own shape, and enlarges that to the whole."""
    (pictures,) = inputs.args
    for kind in kinds:
        pictures = KINDS[kind](pictures, generator)
    return replace(inputs, args=(pictures,))


def flipped(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """(b, c, h, w) → the same, some mirrored."""
    chosen = torch.rand(len(pictures), generator=generator) < 0.5
    return torch.where(chosen.to(pictures.device)[:, None, None, None], pictures.flip(-1), pictures)


def cropped(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """(b, c, h, w) → the same size, each a random part of the picture."""
    side = SCALE_MIN + (1 - SCALE_MIN) * torch.rand(len(pictures), generator=generator)
    middle = (torch.rand(len(pictures), 2, generator=generator) * 2 - 1) * (1 - side)[:, None]
    zero = torch.zeros_like(side)
    return moved(pictures, [[side, zero, middle[:, 0]], [zero, side, middle[:, 1]]])


def turned(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """(b, c, h, w) → the same, each turned about its centre."""
    angle = torch.deg2rad(TURN_MAX * (torch.rand(len(pictures), generator=generator) * 2 - 1))
    ratio, zero = pictures.shape[-1] / pictures.shape[-2], torch.zeros_like(angle)  # both axes run from -1 to 1
    sine, cosine = angle.sin(), angle.cos()
    return moved(pictures, [[cosine, -sine / ratio, zero], [sine * ratio, cosine, zero]])


def moved(pictures: Tensor, matrices: Sequence[Sequence[Tensor]]) -> Tensor:
    """Each picture (b, c, h, w) seen through its own affine map, two rows of three numbers (b,) each."""
    maps = torch.stack([torch.stack(list(row), 1) for row in matrices], 1).to(pictures)
    grid = F.affine_grid(maps, list(pictures.shape), align_corners=False)
    taken = F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)
    return taken.contiguous(memory_format=torch.channels_last)


KINDS = {"flip": flipped, "crop": cropped, "turn": turned}
