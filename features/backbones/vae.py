"""vae: a variational autoencoder (Kingma and Welling 2014) of small grey pictures; the features are its means.

Posterior and likelihood are Gaussians with diagonal covariance. Each pixel has a standard deviation of its own, learnt
with the weights and the same for every picture. Grey values are whole numbers, and a density there has no bound: so a
uniform draw from [0, 1) is added to each (Theis et al. 2016), which makes -ELBO an upper bound on the nats that the
whole numbers cost, and -ELBO / (pixels · ln 2) comparable as bits per dimension.

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
from icebox.features.nn.schedules import set_learning_rate, warm_up_cosine

VERSION = 1
DEFAULT_OUTPUTS = (LAST,)
LEVELS = 256  # of grey
PIXELS = SIDE * SIDE
SPREAD_MIN = 1 / LEVELS  # of a pixel's standard deviation, on the scale 0..1: no finer than the grey levels
WARM_UP = 0.1  # share of the steps in which the weight of the KL divergence rises to 1
AT_ONCE = 500  # pictures
WALK = 10  # pictures of a walk between two
SHOWN = 10  # pictures a row


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
    """Learn the train split's pictures. Codes of `z` numbers, `d` features below them, `width` channels at first."""
    network = {"z": z, "d": d, "width": width}
    return VaePretraining(
        data, network=network, seed=seed, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate
    )


def load(folder: Path, *, outputs: Sequence[str], device: str, precision: str = "float32") -> SmallImageBackbone:
    """The encoder that `pretrain` left in `folder`: `last` is the means, `reader.stage1`… are its convolutions."""
    whole = load_network(folder).to(device)
    return SmallImageBackbone(
        folder, whole.encoder, outputs, whole=whole, version=VERSION, precision=precision, device=device
    )


def generator(folder: Path, *, device: str) -> Generator:
    """What draws from the prior, and from the codes of given pictures."""
    return VaeGenerator(load_network(folder).to(device), device)


def load_network(folder: Path) -> "Vae":
    """The trained network."""
    network = Vae(**read_settings(folder)["network"])
    network.load_state_dict(load_file(folder / WEIGHTS_FILE))
    return network.eval().requires_grad_(False)


class VaeEncoder(nn.Module):
    """Pictures → the posterior's means and log variances."""

    def __init__(self, *, z: int, d: int, width: int) -> None:
        super().__init__()
        self.reader = SmallImageEncoder(d=d, width=width, norm=True)
        self.mean = nn.Linear(d, z)
        self.log_variance = nn.Linear(d, z)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """(b, 1, r, r) in 0..1 → (b, z), (b, z)."""
        features = self.reader(pictures)
        return self.mean(features), self.log_variance(features)


class Vae(nn.Module):
    """Encoder, decoder, and the likelihood's standard deviations."""

    def __init__(self, *, z: int, d: int, width: int) -> None:
        super().__init__()
        self.encoder = VaeEncoder(z=z, d=d, width=width)
        self.decoder = SmallImageDecoder(d=z, width=width)
        self.log_spread = nn.Parameter(torch.full((1, SIDE, SIDE), math.log(0.2)))

    def pixel_std(self) -> Tensor:
        """The likelihood's standard deviation (1, r, r) of each pixel."""
        return SPREAD_MIN + self.log_spread.exp()

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """(b, 1, r, r) in 0..1 → of each, in nats: -log likelihood (b,) at one drawn code, and KL divergence (b,)."""
        mean, log_variance = self.encoder(pictures)
        code = mean + torch.randn_like(mean) * (log_variance / 2).exp()  # the reparametrisation trick
        reconstruction = gaussian_nats(pictures, self.decoder(code), self.pixel_std()).flatten(1).sum(1)
        return reconstruction, kl_divergence(mean, log_variance)


def gaussian_nats(x: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    """-log density of each number under a Gaussian."""
    return ((x - mean) / spread) ** 2 / 2 + spread.log() + math.log(2 * math.pi) / 2


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """(b, z), (b, z) → (b,): KL divergence in nats from N(mean, variance), diagonal, to the prior N(0, 1)."""
    return (mean**2 + log_variance.exp() - 1 - log_variance).sum(1) / 2


def bits_per_dimension(nats: float, dimensions: int) -> float:
    """-log of a density on the scale 0..1 → bits that each of the grey levels costs."""
    return nats / (dimensions * math.log(2)) + math.log2(LEVELS)


class VaePretraining(Pretraining):
    """Raise the evidence lower bound (ELBO) with Adam, the learning rate falling to 0 along a cosine."""

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
        self.pictures = {split: load_split(data, split) for split in ("train", "val", "test")}
        rows = len(self.pictures["train"])
        self.batch_size = min(batch_size, rows)
        self.steps = epochs * (rows // self.batch_size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = Vae(**network)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=learning_rate)

    @property
    def parts(self) -> dict[str, nn.Module | Optimizer]:
        """Network and optimiser."""
        return {"network": self.network, "optimizer": self.optimizer}

    def step(self, index: int) -> float:
        """One batch; -ELBO per picture in nats."""
        done = index / self.steps
        set_learning_rate(self.optimizer, self.learning_rate * warm_up_cosine(done, 0))
        rows = batch_rows(len(self.pictures["train"]), self.batch_size, seed=self.seed, index=index)
        reconstruction, divergence = self.network(self.dequantize(self.pictures["train"][rows]))
        loss = (reconstruction + min(1, done / WARM_UP) * divergence).mean()
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.network.parameters(), 1000.0)  # of nats per picture: only for the first steps
        self.optimizer.step()
        return float((reconstruction + divergence).detach().mean())

    def dequantize(self, pictures: Tensor) -> Tensor:
        """uint8 (b, 1, r, r) → somewhere within each grey level, in 0..1."""
        levels = pictures.to(self.device).float()
        return (levels + torch.rand_like(levels)) / LEVELS

    @torch.inference_mode()
    def evaluate(self) -> dict[str, float]:
        """ELBO per picture of val and test, at one drawn code a picture, in nats; its two parts; bits per dimension.

        In nats of a density on the scale 0..1, where a picture of 784 pixels may well have more than 0.
        """
        scores = {}
        for split in ("val", "test"):
            parts = [self.network(self.dequantize(part)) for part in self.pictures[split].split(AT_ONCE)]
            reconstruction, divergence = (torch.cat(part).double().mean().item() for part in zip(*parts, strict=True))
            scores[f"elbo_nats_{split}"] = -reconstruction - divergence
            scores[f"log_likelihood_nats_{split}"] = -reconstruction
            scores[f"kl_nats_{split}"] = divergence
            scores[f"bits_per_dimension_{split}"] = bits_per_dimension(reconstruction + divergence, PIXELS)
        return scores

    def settings(self) -> dict[str, Any]:
        """What `load` builds the network from."""
        return {"network": self.sizes}


class VaeGenerator(Generator):
    """The likelihood's mean at a code: the noise of its pixels is left out."""

    modality: ClassVar[Modality] = "image"

    def __init__(self, network: Vae, device: str) -> None:
        self.network, self.device = network, device

    def make(self, labels: Sequence[str], *, seed: int) -> list[Content]:
        """Pictures (r, r) at codes from the prior."""
        z = self.network.encoder.mean.out_features
        return self.decode_images(torch.randn(len(labels), z, generator=torch.Generator().manual_seed(seed)))

    def sheets(self, contents: Sequence[Content], *, seed: int) -> dict[str, list[list[Content]]]:
        """Pictures above their reconstructions, and straight walks between the codes of two pictures at a time."""
        shown = list(contents[:SHOWN])
        codes = self.encode_means(shown)
        share = torch.linspace(0, 1, WALK)[:, None]  # (k, 1)
        walks = [self.decode_images(a + share * (b - a)) for a, b in zip(codes[::2], codes[1::2], strict=False)]
        return {"reconstructions": [shown, self.decode_images(codes)], "walk": walks}

    @torch.inference_mode()
    def encode_means(self, contents: Sequence[Content]) -> Tensor:
        """b pictures → the means of their codes (b, z)."""
        pictures = torch.from_numpy(np.stack([to_small_image(content) for content in contents])[:, None])
        means: Tensor = self.network.encoder(pictures.to(self.device).float() / 255)[0]
        return means.cpu()

    @torch.inference_mode()
    def decode_images(self, codes: Tensor) -> list[Content]:
        """Codes (b, z) → b pictures (r, r)."""
        made: list[Content] = []
        for part in codes.split(AT_ONCE):
            made += to_contents(self.network.decoder(part.to(self.device)))
        return made
