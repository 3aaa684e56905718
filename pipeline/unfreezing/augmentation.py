"""Random augmentation of a batch of images, drawn anew in every epoch."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from icebox.features.nn.layer_outputs import Inputs

SCALE_MIN = 0.7  # of a side, that a random crop keeps at least
ANGLE_MAX = 15  # degrees


def augment(inputs: Inputs, *, kinds: Sequence[str], generator: torch.Generator) -> Inputs:
    """Augment images (b, c, h, w): `flip` mirrors each with probability ½, `turn` rotates each by up to 15° either way,
    `crop` takes a random part of it, of its own shape, and enlarges that to the whole."""
    (images,) = inputs.args
    for kind in kinds:
        images = AUGMENTATIONS[kind](images, generator)
    return replace(inputs, args=(images,))


def flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """(b, c, h, w) → the same shape, about half of them mirrored."""
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(mirrored.to(images.device)[:, None, None, None], images.flip(-1), images)


def crop(images: Tensor, generator: torch.Generator) -> Tensor:
    """(b, c, h, w) → the same shape, each a random part of the image."""
    side = SCALE_MIN + (1 - SCALE_MIN) * torch.rand(len(images), generator=generator)
    center = (torch.rand(len(images), 2, generator=generator) * 2 - 1) * (1 - side)[:, None]
    zero = torch.zeros_like(side)
    return warp(images, [[side, zero, center[:, 0]], [zero, side, center[:, 1]]])


def rotate(images: Tensor, generator: torch.Generator) -> Tensor:
    """(b, c, h, w) → the same shape, each rotated about its center."""
    angle = torch.deg2rad(ANGLE_MAX * (torch.rand(len(images), generator=generator) * 2 - 1))
    ratio, zero = images.shape[-1] / images.shape[-2], torch.zeros_like(angle)  # both axes run from -1 to 1
    sine, cosine = angle.sin(), angle.cos()
    return warp(images, [[cosine, -sine / ratio, zero], [sine * ratio, cosine, zero]])


def warp(images: Tensor, matrices: Sequence[Sequence[Tensor]]) -> Tensor:
    """Apply to each image (b, c, h, w) its own affine map: two rows of three numbers, (b,) each."""
    maps = torch.stack([torch.stack(list(row), 1) for row in matrices], 1).to(images)
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    sampled = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    return sampled.contiguous(memory_format=torch.channels_last)


AUGMENTATIONS = {"flip": flip, "crop": crop, "turn": rotate}  # by their names in params.yaml
