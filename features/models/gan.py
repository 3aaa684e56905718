"""Generative adversarial networks (Goodfellow et al. 2014): a generator makes images, a critic scores them.

Two losses: the original one, with the generator's in its non-saturating form, and Wasserstein's with a gradient
penalty (Gulrajani et al. 2017). With classes, both networks are conditioned on the label: the generator takes it as a
part of its code, and the critic compares its features with a vector of the class (Miyato and Koyama 2018), so that the
features themselves need no label.

The names of the modules below (`artist`, `reader`, `of_class` …) are keys of the stored weights: they stay.

Letters: b batch, d features, z size of a code, k classes, r pixels.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from icebox.features.abc.backbone import WEIGHTS_FILE, Generator, Pretraining, read_settings
from icebox.features.abc.dataset import Content, Modality
from icebox.features.manifest.reading import Examples
from icebox.features.models.small_images import (
    SmallImageDecoder,
    SmallImageEncoder,
    batch_rows,
    load_split,
    to_contents,
)

Loss = Literal["original", "wgan-gp"]
Tensors = tuple[Tensor, ...] | list[Tensor]
AVERAGE_DECAY = 0.999  # the share of the generator's running average that a late step keeps
BATCH_SIZE = 500  # images of a forward pass when generating and evaluating


class GanGenerator(nn.Module):
    """Codes, and labels where there are classes, → images."""

    def __init__(self, *, z: int, width: int, classes: int) -> None:
        super().__init__()
        self.z, self.classes = z, classes
        self.drawer = SmallImageDecoder(d=z + classes, width=width)

    def forward(self, codes: Tensor, labels: Tensor) -> Tensor:
        """(b, z), (b,) → (b, 1, r, r) in 0..1."""
        one_hot = F.one_hot(labels, self.classes).to(codes.dtype) if self.classes else codes[:, :0]
        images: Tensor = self.drawer(torch.cat([codes, one_hot], dim=1))
        return images


class Critic(nn.Module):
    """Images, and labels where there are classes, → one score per image: high for real."""

    def __init__(self, *, d: int, width: int, classes: int) -> None:
        super().__init__()
        self.reader = SmallImageEncoder(d=d, width=width, norm=False)
        self.score = nn.Linear(d, 1)
        self.of_class = nn.Embedding(classes, d) if classes else None

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """(b, 1, r, r), (b,) → (b,)."""
        features = self.reader(images)
        score: Tensor = self.score(features)[:, 0]
        return score if self.of_class is None else score + (features * self.of_class(labels)).sum(1)


class GanNetworks(nn.Module):
    """Generator, critic, and the generator's average over many steps, which makes better images than any one step's."""

    def __init__(self, *, z: int, d: int, width: int, classes: int) -> None:
        super().__init__()
        self.artist = GanGenerator(z=z, width=width, classes=classes)
        self.critic = Critic(d=d, width=width, classes=classes)
        self.averaged = AveragedModel(self.artist, multi_avg_fn=update_average, use_buffers=True)


def update_average(means: Tensors, current: Tensors, steps: Tensor | int) -> None:
    """Update running averages over `steps` steps with the current parameters: the fewer steps, the larger their share.

    With a constant decay, the network of the first step, which makes noise, would dominate the first thousand steps.
    """
    decay = min(AVERAGE_DECAY, (1 + int(steps)) / (10 + int(steps)))
    get_ema_multi_avg_fn(decay)(means, current, steps)


class GanPretraining(Pretraining):
    """Both networks take a step on each batch; with wgan-gp the critic takes `critic_steps` per generator step."""

    def __init__(
        self,
        data: Examples,
        *,
        conditional: bool,
        network: dict[str, int],
        loss: Loss,
        seed: int,
        steps: int,
        batch_size: int,
        learning_rate: float,
        critic_steps: int,
        penalty: float,
    ) -> None:
        data.expect("image", "an adversarial network")
        self.seed, self.steps, self.loss, self.sizes = seed, steps, loss, network
        self.critic_steps, self.penalty = critic_steps if loss == "wgan-gp" else 1, penalty
        self.images = load_split(data, "train")
        self.classes = sorted(set(data.labels("train"))) if conditional else []
        numbers = {label: number for number, label in enumerate(self.classes)}
        self.labels = torch.tensor([numbers.get(label, 0) for label in data.labels("train")])
        self.held_out = load_split(data, "test"), torch.tensor([numbers.get(label, 0) for label in data.labels("test")])
        self.batch_size = min(batch_size, len(self.images))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.networks = GanNetworks(**network, classes=len(self.classes))
        self.network = self.networks
        betas = (0.5, 0.999) if loss == "original" else (0.0, 0.9)
        self.generator_optimizer = torch.optim.Adam(self.networks.artist.parameters(), learning_rate, betas)
        self.critic_optimizer = torch.optim.Adam(self.networks.critic.parameters(), learning_rate, betas)

    @property
    def parts(self) -> dict[str, nn.Module | Optimizer]:
        """The networks and their optimizers."""
        return {"networks": self.networks, "generator": self.generator_optimizer, "critic": self.critic_optimizer}

    def step(self, index: int) -> float:
        """One critic step, and a generator step where it is due; returns the critic's loss."""
        rows = batch_rows(len(self.images), self.batch_size, seed=self.seed, index=index)
        real, labels = self.images[rows].to(self.device).float() / 255, self.labels[rows].to(self.device)
        generator, critic = self.networks.artist, self.networks.critic
        generator_step = (index + 1) % self.critic_steps == 0
        with torch.set_grad_enabled(generator_step):
            generated = generator(torch.randn(len(rows), generator.z, device=self.device), labels)
        fake = generated.detach()
        loss = CRITIC_LOSSES[self.loss](critic(real, labels), critic(fake, labels))
        if self.loss == "wgan-gp":
            loss = loss + self.penalty * gradient_penalty(lambda x: critic(x, labels), real, fake)
        take_step(self.critic_optimizer, loss)
        if generator_step:
            critic.requires_grad_(False)  # its own gradients are not wanted here, and would cost time
            take_step(self.generator_optimizer, GENERATOR_LOSSES[self.loss](critic(generated, labels)))
            critic.requires_grad_(True)
            self.networks.averaged.update_parameters(generator)
        return loss.item()

    @torch.inference_mode()
    def evaluate(self) -> dict[str, float]:
        """The critic's mean scores of held-out and of generated images, and how often the real one scores higher."""
        images, labels = self.held_out
        real, fake = [], []
        for start in range(0, len(images), BATCH_SIZE):
            batch_labels = labels[start : start + BATCH_SIZE].to(self.device)
            codes = torch.randn(len(batch_labels), self.networks.artist.z, device=self.device)
            batch = images[start : start + BATCH_SIZE].to(self.device).float() / 255
            real.append(self.networks.critic(batch, batch_labels))
            fake.append(self.networks.critic(self.networks.averaged(codes, batch_labels), batch_labels))
        scores = {"real_score": torch.cat(real).mean().item(), "made_score": torch.cat(fake).mean().item()}
        return {**scores, "real_above_made": (torch.cat(real) > torch.cat(fake)).float().mean().item()}

    def settings(self) -> dict[str, Any]:
        """Sizes, classes and loss: `load` builds the networks from them."""
        return {"network": self.sizes, "classes": self.classes, "loss": self.loss}


def take_step(optimizer: Optimizer, loss: Tensor) -> None:
    """One optimizer step on a loss."""
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()


# Scores (b,) of real and of generated images → the loss.
CRITIC_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "original": lambda real, fake: F.softplus(-real).mean() + F.softplus(fake).mean(),  # -log p(real) - log p(fake)
    "wgan-gp": lambda real, fake: fake.mean() - real.mean(),
}
# Scores (b,) of generated images → the loss.
GENERATOR_LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "original": lambda fake: F.softplus(-fake).mean(),
    "wgan-gp": lambda fake: -fake.mean(),
}


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """Mean of (|gradient| - 1)² of the critic at random points between real and generated images (b, …)."""
    share = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device)
    mixed = (share * real + (1 - share) * fake).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
    penalty: Tensor = ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()
    return penalty


class GanSampler(Generator):
    """Makes images with the averaged generator."""

    modality: ClassVar[Modality] = "image"

    def __init__(self, networks: GanNetworks, classes: Sequence[str], device: str) -> None:
        self.network, self.classes, self.device = networks.averaged.module.to(device).eval(), tuple(classes), device
        self.z = networks.artist.z

    @torch.inference_mode()
    def make(self, labels: Sequence[str], *, seed: int) -> list[Content]:
        """An image (r, r) for each label."""
        codes = torch.randn(len(labels), self.z, generator=torch.Generator().manual_seed(seed))
        classes = torch.tensor([self.classes.index(label) if self.classes else 0 for label in labels])
        images: list[Content] = []
        for start in range(0, len(labels), BATCH_SIZE):
            batch = slice(start, start + BATCH_SIZE)
            images += to_contents(self.network(codes[batch].to(self.device), classes[batch].to(self.device)))
        return images


def load_networks(folder: Path) -> GanNetworks:
    """The trained networks, from the folder that `pretrain` left."""
    settings = read_settings(folder, network=dict, classes=[str])
    networks = GanNetworks(**settings["network"], classes=len(settings["classes"]))
    networks.load_state_dict(load_file(folder / WEIGHTS_FILE))
    return networks.eval().requires_grad_(False)
