"""vae: a variational autoencoder (Kingma and Welling 2014) of small grey images; the features are its means.

Posterior and likelihood are Gaussians with diagonal covariance. Each pixel has a standard deviation of its own, learned
with the weights and equal for all images. Grey values are integers, on which a density has no upper bound: so uniform
noise from [0, 1) is added to each (Theis et al. 2016), which makes -ELBO an upper bound on the nats that the integers
cost, and -ELBO / (pixels · ln 2) comparable as bits per dimension.

The names of the networks' modules are keys of the stored weights.

Letters: b batch, z size of a code, r pixels a side, k steps of a walk.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim import Optimizer

from icebox.features.abc.backbone import WEIGHTS_FILE, Generator, Pretraining, read_settings
from icebox.features.abc.dataset import Content, Modality
from icebox.features.manifest.reading import Examples
from icebox.features.models.schedules import set_learning_rate, warm_up_cosine
from icebox.features.models.small_images import (
    SIDE,
    SmallImageBackbone,
    SmallImageDecoder,
    SmallImageEncoder,
    batch_rows,
    load_split,
    to_contents,
    to_small_image,
)
from icebox.features.nn.layer_outputs import LAST

VERSION = 1
DEFAULT_OUTPUTS = (LAST,)
LEVELS = 256  # of grey
PIXELS = SIDE * SIDE
PIXEL_STD_MIN = 1 / LEVELS  # on the scale 0..1: no finer than the grey levels
WARM_UP = 0.1  # share of the steps in which the weight of the KL divergence rises to 1
BATCH_SIZE = 500  # images of a forward pass when generating and evaluating
WALK_IMAGES = 10  # of an interpolation between two codes
ROW_IMAGES = 10  # of a row of the sheet of reconstructions


def pretraining(
    *,
    data: Examples,
    seed: int = 0,
    epochs: int = 5,
    batch_size: int = 64,
    learning_rate: float = 0.001,
    z: int = 32,
    d: int = 256,
    width: int = 32,
) -> "VaePretraining":
    """Train on the images of the train split. Codes of `z` numbers, `d` features before them, `width` channels."""
    network = {"z": z, "d": d, "width": width}
    return VaePretraining(
        data, network=network, seed=seed, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate
    )


def load(folder: Path, *, outputs: Sequence[str], device: str, precision: str = "float32") -> SmallImageBackbone:
    """The encoder that `pretrain` left in `folder`: `last` is the means, `reader.stage1`… are its convolutions."""
    stored_network = load_network(folder).to(device)
    return SmallImageBackbone(
        folder,
        stored_network.encoder,
        outputs,
        stored_network=stored_network,
        version=VERSION,
        precision=precision,
        device=device,
    )


def generator(folder: Path, *, device: str) -> Generator:
    """Decodes codes drawn from the prior, and the codes of existing images."""
    return VaeGenerator(load_network(folder).to(device), device)


def load_network(folder: Path) -> "Vae":
    """The trained network."""
    network = Vae(**read_settings(folder, network=dict)["network"])
    network.load_state_dict(load_file(folder / WEIGHTS_FILE))
    return network.eval().requires_grad_(False)


class VaeEncoder(nn.Module):
    """Images → means and log variances of the posterior."""

    def __init__(self, *, z: int, d: int, width: int) -> None:
        super().__init__()
        self.reader = SmallImageEncoder(d=d, width=width, norm=True)
        self.mean = nn.Linear(d, z)
        self.log_variance = nn.Linear(d, z)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(b, 1, r, r) in 0..1 → (b, z), (b, z)."""
        features = self.reader(images)
        return self.mean(features), self.log_variance(features)


class Vae(nn.Module):
    """Encoder, decoder, and the standard deviations of the likelihood."""

    def __init__(self, *, z: int, d: int, width: int) -> None:
        super().__init__()
        self.encoder = VaeEncoder(z=z, d=d, width=width)
        self.decoder = SmallImageDecoder(d=z, width=width)
        self.log_spread = nn.Parameter(torch.full((1, SIDE, SIDE), math.log(0.2)))

    def pixel_std(self) -> Tensor:
        """The standard deviation (1, r, r) of the likelihood of each pixel."""
        return PIXEL_STD_MIN + self.log_spread.exp()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(b, 1, r, r) in 0..1 → -log likelihood (b,) at one sampled code and KL divergence (b,), in nats."""
        mean, log_variance = self.encoder(images)
        code = mean + torch.randn_like(mean) * (log_variance / 2).exp()  # the reparametrization trick
        reconstruction = gaussian_nats(images, self.decoder(code), self.pixel_std()).flatten(1).sum(1)
        return reconstruction, kl_divergence(mean, log_variance)


def gaussian_nats(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """-log density of each number under a Gaussian."""
    return ((x - mean) / std) ** 2 / 2 + std.log() + math.log(2 * math.pi) / 2


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence (b,), in nats, from N(mean, variance) with diagonal variance, (b, z) each, to the prior N(0, 1)."""
    return (mean**2 + log_variance.exp() - 1 - log_variance).sum(1) / 2


def bits_per_dimension(nats: float, dimensions: int) -> float:
    """-log of a density on the scale 0..1 → bits per grey value."""
    return nats / (dimensions * math.log(2)) + math.log2(LEVELS)


class VaePretraining(Pretraining):
    """Maximize the evidence lower bound (ELBO) with Adam; the learning rate falls to 0 along a cosine."""

    def __init__(
        self,
        data: Examples,
        *,
        network: dict[str, int],
        seed: int,
        epochs: int,
        batch_size: int,
        learning_rate: float,
    ) -> None:
        data.expect("image", "vae")
        self.seed, self.learning_rate, self.sizes = seed, learning_rate, network
        self.images = {split: load_split(data, split) for split in ("train", "val", "test")}
        rows = len(self.images["train"])
        self.batch_size = min(batch_size, rows)
        self.steps = epochs * (rows // self.batch_size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = Vae(**network)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=learning_rate)

    @property
    def parts(self) -> dict[str, nn.Module | Optimizer]:
        """Network and optimizer."""
        return {"network": self.network, "optimizer": self.optimizer}

    def step(self, index: int) -> float:
        """Train on one batch; returns its -ELBO per image in nats."""
        done = index / self.steps
        set_learning_rate(self.optimizer, self.learning_rate * warm_up_cosine(done, 0))
        rows = batch_rows(len(self.images["train"]), self.batch_size, seed=self.seed, index=index)
        reconstruction, divergence = self.network(self.dequantize(self.images["train"][rows]))
        loss = (reconstruction + min(1, done / WARM_UP) * divergence).mean()
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.network.parameters(), 1000.0)  # nats per image: reached in the first steps only
        self.optimizer.step()
        return float((reconstruction + divergence).detach().mean())

    def dequantize(self, images: Tensor) -> Tensor:
        """uint8 (b, 1, r, r) → (b, 1, r, r) in 0..1, a random value within each grey level."""
        levels = images.to(self.device).float()
        return (levels + torch.rand_like(levels)) / LEVELS

    @torch.inference_mode()
    def evaluate(self) -> dict[str, float]:
        """ELBO per image of val and test, at one sampled code each, in nats; its two parts; bits per dimension.

        The nats are those of a density on the scale 0..1, which may well exceed 0 for an image of 784 pixels.
        """
        scores = {}
        for split in ("val", "test"):
            parts = [self.network(self.dequantize(part)) for part in self.images[split].split(BATCH_SIZE)]
            reconstruction, divergence = (torch.cat(part).double().mean().item() for part in zip(*parts, strict=True))
            scores[f"elbo_nats_{split}"] = -reconstruction - divergence
            scores[f"log_likelihood_nats_{split}"] = -reconstruction
            scores[f"kl_nats_{split}"] = divergence
            scores[f"bits_per_dimension_{split}"] = bits_per_dimension(reconstruction + divergence, PIXELS)
        return scores

    def settings(self) -> dict[str, Any]:
        """The sizes of the network: `load` builds it from them."""
        return {"network": self.sizes}


class VaeGenerator(Generator):
    """Decodes a code to the mean of the likelihood, without the noise of the pixels."""

    modality: ClassVar[Modality] = "image"

    def __init__(self, network: Vae, device: str) -> None:
        self.network, self.device = network, device

    def make(self, labels: Sequence[str], *, seed: int) -> list[Content]:
        """Images (r, r) at codes from the prior."""
        z = self.network.encoder.mean.out_features
        return self.decode_images(torch.randn(len(labels), z, generator=torch.Generator().manual_seed(seed)))

    def comparison_rows(self, contents: Sequence[Content], *, seed: int) -> dict[str, list[list[Content]]]:
        """Images above their reconstructions, and linear interpolations between the codes of pairs of images."""
        originals = list(contents[:ROW_IMAGES])
        codes = self.encode_means(originals)
        share = torch.linspace(0, 1, WALK_IMAGES)[:, None]  # (k, 1)
        walks = [self.decode_images(a + share * (b - a)) for a, b in zip(codes[::2], codes[1::2], strict=False)]
        return {"reconstructions": [originals, self.decode_images(codes)], "walk": walks}

    @torch.inference_mode()
    def encode_means(self, contents: Sequence[Content]) -> Tensor:
        """b images → the means of their codes (b, z)."""
        images = torch.from_numpy(np.stack([to_small_image(content) for content in contents])[:, None])
        means: Tensor = self.network.encoder(images.to(self.device).float() / 255)[0]
        return means.cpu()

    @torch.inference_mode()
    def decode_images(self, codes: Tensor) -> list[Content]:
        """Codes (b, z) → b images (r, r)."""
        images: list[Content] = []
        for batch in codes.split(BATCH_SIZE):
            images += to_contents(self.network.decoder(batch.to(self.device)))
        return images
