"""Small grey images: how any image becomes one, and the convolutional encoder and decoder for them.

The names of the networks' modules are keys of the stored weights.

Letters: b batch, n items, d features, r = SIDE pixels, w width.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from icebox.features import fingerprint
from icebox.features.abc.backbone import WEIGHTS_FILE, read_settings, write_settings
from icebox.features.abc.dataset import Content, Modality
from icebox.features.images.decoding import to_image
from icebox.features.manifest.reading import Examples
from icebox.features.nn.backbone import TorchBackbone
from icebox.features.nn.layer_outputs import Inputs
from icebox.features.nn.transfer import plain_state, to_device_async
from icebox.features.seeds import step_seed

SIDE = 28
NEGATIVE_SLOPE = 0.2  # of the leaky ReLUs
PREPROCESS = {"mode": "grey", "resize": f"{SIDE}x{SIDE}, bilinear, antialiased", "scale": "1/255"}


def to_small_image(content: Content) -> np.ndarray:
    """One image → uint8 (r, r), grey, resized to a square without keeping its proportions."""
    image = to_image(content).convert("L")
    if image.size != (SIDE, SIDE):
        image = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(image)


def load_split(data: Examples, split: str) -> Tensor:
    """All images of a split, uint8 (n, 1, r, r)."""
    return torch.from_numpy(np.stack([to_small_image(content) for content in data.contents(split)])[:, None])


def batch_rows(rows: int, batch_size: int, *, seed: int, index: int) -> Tensor:
    """The rows (b,) of batch `index`. Each epoch has its own random order; an incomplete last batch is left out."""
    epoch, position = divmod(index, rows // batch_size)
    generator = torch.Generator().manual_seed(step_seed(seed, epoch))
    return torch.randperm(rows, generator=generator)[position * batch_size :][:batch_size]


class SmallImageEncoder(nn.Module):
    """Images in 0..1, (b, 1, r, r) → features (b, d): three strided convolutions and a linear layer."""

    def __init__(self, *, d: int, width: int, norm: bool) -> None:
        super().__init__()
        self.stage1 = nn.Sequential(nn.Conv2d(1, width, 4, stride=2, padding=1), nn.LeakyReLU(NEGATIVE_SLOPE))
        self.stage2 = strided_convolution(width, 2 * width, size=4, norm=norm)
        self.stage3 = strided_convolution(2 * width, 4 * width, size=3, norm=norm)
        self.flat = nn.Sequential(nn.Flatten(), nn.Linear(4 * width * 16, d), nn.LeakyReLU(NEGATIVE_SLOPE))

    def forward(self, images: Tensor) -> Tensor:
        """(b, 1, r, r) → (b, w, 14, 14) → (b, 2w, 7, 7) → (b, 4w, 4, 4) → (b, d)."""
        features: Tensor = self.flat(self.stage3(self.stage2(self.stage1(2 * images - 1))))
        return features


class SmallImageDecoder(nn.Module):
    """Codes (b, d) → images in 0..1, (b, 1, r, r): a linear layer and two transposed convolutions."""

    def __init__(self, *, d: int, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(d, 4 * width * 49, bias=False),
            nn.BatchNorm1d(4 * width * 49),
            nn.ReLU(),
            nn.Unflatten(1, (4 * width, 7, 7)),
            nn.ConvTranspose2d(4 * width, 2 * width, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * width, 1, 4, stride=2, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, codes: Tensor) -> Tensor:
        """(b, d) → (b, 4w, 7, 7) → (b, 2w, 14, 14) → (b, 1, r, r)."""
        images: Tensor = self.body(codes)
        return images


def strided_convolution(d_in: int, d_out: int, *, size: int, norm: bool) -> nn.Sequential:
    """A convolution of stride 2, batch norm with `norm`, and a leaky ReLU: half the height and width."""
    batch_norm = [nn.BatchNorm2d(d_out)] if norm else []
    convolution = nn.Conv2d(d_in, d_out, size, stride=2, padding=1, bias=not norm)
    return nn.Sequential(convolution, *batch_norm, nn.LeakyReLU(NEGATIVE_SLOPE))


class SmallImageBackbone(TorchBackbone):
    """Features of small grey images from a network that takes (b, 1, r, r) in 0..1.

    The network may be a part of `stored_network`, whose weights are in `folder`.
    """

    modality: ClassVar[Modality] = "image"
    reentrant: ClassVar[bool] = True

    def __init__(
        self,
        folder: Path,
        network: nn.Module,
        outputs: Sequence[str],
        *,
        stored_network: nn.Module,
        version: int,
        precision: str,
        device: str,
    ) -> None:
        settings = read_settings(folder, family=str, network=dict)
        spec = {
            "family": settings["family"],
            "version": version,
            "network": settings["network"],
            "weights": fingerprint.of_file(folder / WEIGHTS_FILE),
            "preprocess": PREPROCESS,
        }
        super().__init__(network, spec=spec, settings=settings, outputs=outputs, precision=precision, device=device)
        self.stored_network = stored_network

    def prepare(self, content: Content) -> np.ndarray:
        """One image → uint8 (r, r)."""
        return to_small_image(content)

    def inputs(self, prepared: Sequence[np.ndarray]) -> Inputs:
        """b images, uint8 (r, r) each → (b, 1, r, r) in 0..1."""
        images = to_device_async(torch.from_numpy(np.stack(prepared)[:, None]), self.device)
        return Inputs((images.float() / 255,))

    def save(self, folder: Path) -> None:
        """Write the weights of the whole network and the settings."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file(plain_state(self.stored_network), folder / WEIGHTS_FILE)
        write_settings(folder, self.settings)


def to_contents(images: Tensor) -> list[Content]:
    """Images in 0..1, (b, 1, r, r) → b arrays uint8 (r, r), the form in which datasets give them."""
    grey = (images[:, 0] * 255).round().to(torch.uint8).cpu().numpy()
    return list(grey)
