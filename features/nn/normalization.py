"""Normalize 8-bit images for a network: 0..255 → 0..1, minus each color's mean, divided by its standard deviation.

Letters: b batch, c channels, h height, w width, in pixels.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from icebox.features.nn.transfer import to_device_async


def normalize_images(
    images: Sequence[Tensor], *, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype, device: str
) -> Tensor:
    """b images, uint8 (c, h, w) each → `dtype` (b, c, h, w) on `device`; both in channels-last memory order.

    That order is 2.5 times as fast on a processor for SqueezeNet, 2 times for GoogLeNet, 1.3 times for ResNet-18.
    """
    channels, height, width = images[0].shape
    scale, shift = scale_and_shift(tuple(mean), tuple(std), width, device)
    if device == "cpu":  # one at a time, in place: what lies in between never leaves the processor's cache
        batch = torch.empty(len(images), height, channels * width, dtype=dtype)
        between = torch.empty(height, channels * width)
        for target, image in zip(batch, images, strict=True):
            values = target if dtype == torch.float32 else between
            values.view(height, width, channels).copy_(image.permute(1, 2, 0))
            torch.addcmul(shift, values, scale, out=values)
            if values is not target:
                target.copy_(values)
    else:  # copied as uint8, a quarter of the bytes
        rows = [image.permute(1, 2, 0).reshape(height, channels * width) for image in images]
        batch = torch.addcmul(shift, to_device_async(torch.stack(rows), device).float(), scale).to(dtype)
    return batch.view(len(images), height, width, channels).permute(0, 3, 1, 2)


@lru_cache
def scale_and_shift(mean: tuple[float, ...], std: tuple[float, ...], width: int, device: str) -> tuple[Tensor, Tensor]:
    """(scale, shift), float32 (c·w,) each: a row of pixels is multiplied by the one, then the other is added."""
    means, stds = (torch.tensor(values, dtype=torch.float64) for values in (mean, std))
    scale, shift = 1 / (255 * stds), -means / stds
    return scale.float().repeat(width).to(device), shift.float().repeat(width).to(device)
