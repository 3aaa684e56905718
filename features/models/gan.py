"""Two networks against each other (Goodfellow et al. 2014): one draws pictures, one tells them from real ones.

Two losses: the original one, the drawing network's in its non-saturating form, and Wasserstein's with a gradient
penalty (Gulrajani et al. 2017). With classes, both networks are given the label: it is a part of the code that is drawn
from, and the critic compares its features with a vector of the class (Miyato and Koyama 2018), so that the features
themselves need no label.

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
Several = tuple[Tensor, ...] | list[Tensor]
AVERAGED = 0.999  # how much of the drawing network's running average a late step keeps
AT_ONCE = 500  # pictures


class GanGenerator(nn.Module):
    """Codes, and labels where there are classes, → pictures."""

    def __init__(self, *, z: int, width: int, classes: int) -> None:
        super().__init__()
        self.z, self.classes = z, classes
        self.drawer = SmallImageDecoder(d=z + classes, width=width)

    def forward(self, codes: Tensor, labels: Tensor) -> Tensor:
        """(b, z), (b,) → (b, 1, r, r) in 0..1."""
        given = F.one_hot(labels, self.classes).to(codes.dtype) if self.classes else codes[:, :0]
        pictures: Tensor = self.drawer(torch.cat([codes, given], dim=1))
        return pictures


class Critic(nn.Module):
    """Pictures, and labels where there are classes, → a score each: high for real."""

    def __init__(self, *, d: int, width: int, classes: int) -> None:
        super().__init__()
        self.reader = SmallImageEncoder(d=d, width=width, norm=False)
        self.score = nn.Linear(d, 1)
        self.of_class = nn.Embedding(classes, d) if classes else None

    def forward(self, pictures: Tensor, labels: Tensor) -> Tensor:
        """(b, 1, r, r), (b,) → (b,)."""
        features = self.reader(pictures)
        score: Tensor = self.score(features)[:, 0]
        return score if self.of_class is None else score + (features * self.of_class(labels)).sum(1)


class GanNetworks(nn.Module):
    """Both, and the average over many steps of the one that draws, which draws better than any one step's."""

    def __init__(self, *, z: int, d: int, width: int, classes: int) -> None:
        super().__init__()
        self.artist = GanGenerator(z=z, width=width, classes=classes)
        self.critic = Critic(d=d, width=width, classes=classes)
        self.averaged = AveragedModel(self.artist, multi_avg_fn=update_average, use_buffers=True)


def update_average(means: Several, now: Several, steps: Tensor | int) -> None:
    """Let running averages that hold `steps` steps take in another one: the fewer they hold, the more of it.

    With one share for all, the network of the first step, which draws noise, would be most of the first thousand.
    """
    keep = min(AVERAGED, (1 + int(steps)) / (10 + int(steps)))
    get_ema_multi_avg_fn(keep)(means, now, steps)


class GanPretraining(Pretraining):
    """Both take a step on each batch; with wgan-gp the critic takes `critic_steps` for each of the other's."""

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
        self.pictures = load_split(data, "train")
        self.classes = sorted(set(data.labels("train"))) if conditional else []
        numbers = {label: number for number, label in enumerate(self.classes)}
        self.labels = torch.tensor([numbers.get(label, 0) for label in data.labels("train")])
        self.held_out = load_split(data, "test"), torch.tensor([numbers.get(label, 0) for label in data.labels("test")])
        self.batch_size = min(batch_size, len(self.pictures))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.networks = GanNetworks(**network, classes=len(self.classes))
        self.network = self.networks
        artist, critic = self.networks.artist, self.networks.critic
        betas = (0.5, 0.999) if loss == "original" else (0.0, 0.9)
        self.optimizers = [torch.optim.Adam(each.parameters(), learning_rate, betas) for each in (artist, critic)]

    @property
    def parts(self) -> dict[str, nn.Module | Optimizer]:
        """The networks and their optimisers."""
        return {"networks": self.networks, "artist": self.optimizers[0], "critic": self.optimizers[1]}

    def step(self, index: int) -> float:
        """A batch for the critic, and for the other where it is its turn; the critic's loss."""
        rows = batch_rows(len(self.pictures), self.batch_size, seed=self.seed, index=index)
        real, labels = self.pictures[rows].to(self.device).float() / 255, self.labels[rows].to(self.device)
        artist, critic = self.networks.artist, self.networks.critic
        turn = (index + 1) % self.critic_steps == 0
        with torch.set_grad_enabled(turn):
            made = artist(torch.randn(len(rows), artist.z, device=self.device), labels)
        fake = made.detach()
        loss = CRITIC_LOSSES[self.loss](critic(real, labels), critic(fake, labels))
        if self.loss == "wgan-gp":
            loss = loss + self.penalty * gradient_penalty(lambda x: critic(x, labels), real, fake)
        take_step(self.optimizers[1], loss)
        if turn:
            critic.requires_grad_(False)  # its own gradients are not wanted here, and would cost time
            take_step(self.optimizers[0], GENERATOR_LOSSES[self.loss](critic(made, labels)))
            critic.requires_grad_(True)
            self.networks.averaged.update_parameters(artist)
        return loss.item()

    @torch.inference_mode()
    def evaluate(self) -> dict[str, float]:
        """How often the critic scores above 0 what is real, held out from training, and what is made."""
        pictures, labels = self.held_out
        real, fake = [], []
        for start in range(0, len(pictures), AT_ONCE):
            given = labels[start : start + AT_ONCE].to(self.device)
            made = self.networks.averaged(torch.randn(len(given), self.networks.artist.z, device=self.device), given)
            real.append(self.networks.critic(pictures[start : start + AT_ONCE].to(self.device).float() / 255, given))
            fake.append(self.networks.critic(made, given))
        scores = {"real_score": torch.cat(real).mean().item(), "made_score": torch.cat(fake).mean().item()}
        return {**scores, "real_above_made": (torch.cat(real) > torch.cat(fake)).float().mean().item()}

    def settings(self) -> dict[str, Any]:
        """What `load` builds the networks from."""
        return {"network": self.sizes, "classes": self.classes, "loss": self.loss}


def take_step(optimizer: Optimizer, loss: Tensor) -> None:
    """One step down the loss."""
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()


# Scores (b,) of real and of generated images → the loss.
CRITIC_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "original": lambda real, made: F.softplus(-real).mean() + F.softplus(made).mean(),  # -log p(real) - log p(made)
    "wgan-gp": lambda real, made: made.mean() - real.mean(),
}
# Scores (b,) of generated images → the loss.
GENERATOR_LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "original": lambda made: F.softplus(-made).mean(),
    "wgan-gp": lambda made: -made.mean(),
}


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, made: Tensor) -> Tensor:
    """Mean of (|gradient| - 1)² of the critic at random points between real and made pictures (b, …)."""
    share = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device)
    between = (share * real + (1 - share) * made).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    penalty: Tensor = ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()
    return penalty


class GanSampler(Generator):
    """Draws with the averaged network."""

    modality: ClassVar[Modality] = "image"

    def __init__(self, networks: GanNetworks, classes: Sequence[str], device: str) -> None:
        self.artist, self.classes, self.device = networks.averaged.module.to(device).eval(), tuple(classes), device
        self.z = networks.artist.z

    @torch.inference_mode()
    def make(self, labels: Sequence[str], *, seed: int) -> list[Content]:
        """A picture (r, r) for each label."""
        codes = torch.randn(len(labels), self.z, generator=torch.Generator().manual_seed(seed))
        numbers = torch.tensor([self.classes.index(label) if self.classes else 0 for label in labels])
        made: list[Content] = []
        for start in range(0, len(labels), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            made += to_contents(self.artist(codes[part].to(self.device), numbers[part].to(self.device)))
        return made


def load_networks(folder: Path) -> GanNetworks:
    """The trained networks, from the folder that `pretrain` left."""
    settings = read_settings(folder)
    networks = GanNetworks(**settings["network"], classes=len(settings["classes"]))
    networks.load_state_dict(load_file(folder / WEIGHTS_FILE))
    return networks.eval().requires_grad_(False)
