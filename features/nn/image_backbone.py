"""The base classes of backbones that take RGB or grey pictures, resized, cropped and normalized.

Letters: b batch, c channels, h height, w width.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from icebox.features.abc.backbone import Backbone
from icebox.features.abc.dataset import Content, Modality
from icebox.features.errors import IceboxError
from icebox.features.images.decoding import to_image, to_pixels
from icebox.features.images.resizing import resize, resize_and_crop
from icebox.features.nn.backbone import TorchBackbone
from icebox.features.nn.layer_outputs import Inputs
from icebox.features.nn.normalization import normalize_images

# exact: resized by Pillow, as torchvision does; fast: within 2 levels of that, three times as fast
# (features/images/resizing.py); draft: fast, and a large JPEG is decoded at 1/2, 1/4 or 1/8 of its size
FAST, EXACT, DRAFT = DECODES = ("fast", "exact", "draft")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Pictures(Backbone):
    """Images are decoded, resized and cropped on the CPU.

    `spec["preprocess"]` has `resize` ([shorter side] or [height, width]), `crop` (a side or both), `interpolation`,
    `decode`, and a `mean` and `std` a channel: three, or one where the network takes grey pictures.
    """

    modality: ClassVar[Modality] = "image"

    def prepare(self, content: Content) -> Tensor:
        """One image → uint8 (c, h, w), equal to the output of the weights' own transforms before normalization."""
        steps = self.spec["preprocess"]
        if len(steps["resize"]) == 2:
            return self.prepare_framed(content)
        (shorter,), crop = steps["resize"], tuple((steps["crop"] * 2)[:2])
        pixels = self.pixels(content, draft=shorter if steps["decode"] == DRAFT else None)
        exact = steps["decode"] == EXACT
        cropped = resize_and_crop(pixels, shorter=shorter, crop=crop, interpolation=steps["interpolation"], exact=exact)
        return to_tensor(cropped, channels=len(steps["mean"]))

    def prepare_framed(self, content: Content) -> Tensor:
        """One image → uint8 (c, h, w), all of it, stretched to the network's input."""
        steps = self.spec["preprocess"]
        size = tuple((steps["crop"] * 2)[:2])
        exact = steps["decode"] == EXACT
        resized = resize(self.pixels(content), size, interpolation=steps["interpolation"], exact=exact)
        return to_tensor(resized, channels=len(steps["mean"]))

    def pixels(self, content: Content, *, draft: int | None = None) -> np.ndarray:
        """One image as uint8 (h, w) or (h, w, 3); (h, w) always for a network of grey pictures."""
        if len(self.spec["preprocess"]["mean"]) == 1:
            return np.asarray(to_image(content).convert("L"))
        return to_pixels(content, draft=draft)


class ImageBackbone(Pictures, TorchBackbone):
    """A torch network of pictures, which are scaled, normalized and encoded on `device`."""

    def inputs(self, prepared: Sequence[Tensor]) -> Inputs:
        """b images, uint8 (c, h, w) each → (b, c, h, w), normalized, in the network's precision."""
        mean, std = (self.spec["preprocess"][name] for name in ("mean", "std"))
        dtype = self.layer_outputs.input_dtype
        return Inputs((normalize_images(prepared, mean=mean, std=std, dtype=dtype, device=self.device),))


def check_decode(decode: str) -> None:
    """Raise IceboxError unless `decode` is one of DECODES."""
    if decode not in DECODES:
        raise IceboxError(f"decode: expected one of {', '.join(DECODES)}, found '{decode}'")


def preprocess_of(
    size: int | Sequence[int],
    resize: int | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    interpolation: str,
) -> dict[str, Any]:
    """The preparation of pictures as JSON. Raises IceboxError for values that fit no network."""
    sides = [size, size] if isinstance(size, int) else list(size)
    if len(sides) != 2:
        raise IceboxError(f"size: expected a side or [height, width], found {sides}")
    means, stds = list(mean or IMAGENET_MEAN), list(std or IMAGENET_STD)
    if len(means) != len(stds) or len(means) not in (1, 3) or min(stds) <= 0:
        raise IceboxError(f"mean, std: expected three numbers each, or one of grey pictures, found {means} and {stds}")
    return {
        "resize": [resize or min(sides)], "crop": sides, "interpolation": interpolation, "mean": means, "std": stds,
    }  # fmt: skip


def to_tensor(pixels: np.ndarray, *, channels: int) -> Tensor:
    """uint8 (h, w) or (h, w, 3) → (c, h, w), grey repeated."""
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], channels, axis=2)
    return torch.from_numpy(np.require(pixels, requirements="W")).permute(2, 0, 1)
