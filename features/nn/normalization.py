"""Pictures of 8 bits as a network takes them: 0..255 → 0..1, less each colour's mean, by its standard deviation.

Letters: b batch, h height, w width.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from icebox.features.nn.transfer import to_device_async


def normalize_images(
    pictures: Sequence[Tensor], *, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype, device: str
) -> Tensor:
    """uint8 (3, h, w) each, colours last in memory → `dtype` (b, 3, h, w) on `device`, colours last in memory.

    That order is 2.5 times as fast on a processor for SqueezeNet, 2 times for GoogLeNet, 1.3 times for ResNet-18.
    """
    _, height, width = pictures[0].shape
    rows = [picture.permute(1, 2, 0).reshape(height, 3 * width) for picture in pictures]
    scale, shift = scale_and_shift(tuple(mean), tuple(std), width, device)
    if device == "cpu":  # one at a time: what is between uint8 and `dtype` then never leaves the processor's cache
        batch = torch.empty(len(rows), height, 3 * width, dtype=dtype)
        for target, pixels in zip(batch, rows, strict=True):
            target.copy_(torch.addcmul(shift, pixels.float(), scale))
    else:  # still uint8 while it is copied
        batch = torch.addcmul(shift, to_device_async(torch.stack(rows), device).float(), scale).to(dtype)
    return batch.view(len(rows), height, width, 3).permute(0, 3, 1, 2)


@lru_cache
def scale_and_shift(mean: tuple[float, ...], std: tuple[float, ...], width: int, device: str) -> tuple[Tensor, Tensor]:
    """(scale, shift), float32 (3·w,): what each value in a row of pixels is multiplied by, then what is added."""
    means, stds = (torch.tensor(values, dtype=torch.float64) for values in (mean, std))
    scale, shift = 1 / (255 * stds), -means / stds
    return scale.float().repeat(width).to(device), shift.float().repeat(width).to(device)
