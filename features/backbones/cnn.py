"""cnn: a small convolutional network trained on a dataset's own labels, on small grey images.

As a backbone it is the upper bound to compare features learned without labels with. It also judges generated images:
`judge` gives its features, for the Fréchet distance, and its predicted labels.

Letters: b batch, n items, d features, k classes, r pixels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from icebox.features.abc.backbone import WEIGHTS_FILE, ImageJudge, Pretraining, read_settings
from icebox.features.abc.dataset import Content
from icebox.features.manifest.reading import Examples
from icebox.features.models.schedules import set_learning_rate, warm_up_cosine
from icebox.features.models.small_images import (
    SmallImageBackbone,
    SmallImageEncoder,
    batch_rows,
    load_split,
    to_small_image,
)
from icebox.features.nn.layer_outputs import LAST

VERSION = 1
DEFAULT_OUTPUTS = (LAST,)
WARM_UP = 0.2  # share of the steps in which the learning rate rises
BATCH_SIZE = 500  # images of a forward pass when judging and evaluating


def pretraining(
    *,
    data: Examples,
    seed: int = 0,
    epochs: int = 6,
    batch_size: int = 128,
    learning_rate: float = 0.002,
    width: int = 32,
    d: int = 128,
) -> "CnnPretraining":
    """Train on the labels of the train split. `width` channels in the first stage, `d` features."""
    network = {"width": width, "d": d}
    return CnnPretraining(
        data, network=network, seed=seed, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate
    )


def load(folder: Path, *, outputs: Sequence[str], device: str, precision: str = "float32") -> SmallImageBackbone:
    """The network that `pretrain` left in `folder`. Outputs: `last`, or `stage1`…`stage3` with avg, max, flatten."""
    stored_network = load_network(folder).to(device)
    return SmallImageBackbone(
        folder,
        stored_network.reader,
        outputs,
        stored_network=stored_network,
        version=VERSION,
        precision=precision,
        device=device,
    )


def judge(folder: Path, *, device: str) -> ImageJudge:
    """Computes features and predicted labels of images."""
    return CnnJudge(load_network(folder).to(device), read_settings(folder, classes=[str])["classes"], device)


def load_network(folder: Path) -> "SmallCnn":
    """The trained network with its classifier."""
    settings = read_settings(folder, network=dict, classes=[str])
    network = SmallCnn(classes=len(settings["classes"]), **settings["network"])
    network.load_state_dict(load_file(folder / WEIGHTS_FILE))
    return network.eval().requires_grad_(False)


class SmallCnn(nn.Module):
    """A SmallImageEncoder and a linear classifier; the names of the modules are keys of the stored weights."""

    def __init__(self, *, classes: int, width: int, d: int) -> None:
        super().__init__()
        self.reader = SmallImageEncoder(d=d, width=width, norm=True)
        self.scores = nn.Sequential(nn.Dropout(0.3), nn.Linear(d, classes))

    def forward(self, images: Tensor) -> Tensor:
        """(b, 1, r, r) in 0..1 → (b, k)."""
        scores: Tensor = self.scores(self.reader(images))
        return scores


class CnnJudge(ImageJudge):
    """The frozen network, in float32."""

    def __init__(self, network: SmallCnn, classes: Sequence[str], device: str) -> None:
        self.network, self.classes, self.device = network, tuple(classes), device

    @torch.inference_mode()
    def features_and_labels(self, contents: Sequence[Content]) -> tuple[np.ndarray, list[str]]:
        """n images → features (n, d), and the predicted label of each."""
        features, labels = [], []
        for start in range(0, len(contents), BATCH_SIZE):
            images = np.stack([to_small_image(content) for content in contents[start : start + BATCH_SIZE]])
            batch = self.network.reader(torch.from_numpy(images[:, None]).to(self.device).float() / 255)
            features.append(batch.cpu().numpy())
            labels += [self.classes[number] for number in self.network.scores(batch).argmax(1).tolist()]
        return np.concatenate(features), labels


class CnnPretraining(Pretraining):
    """Cross entropy with random mirroring; the learning rate rises linearly, then falls to 0 along a cosine."""

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
        data.expect("image", "cnn")
        self.seed, self.learning_rate, self.sizes = seed, learning_rate, network
        self.classes = sorted(set(data.labels("train")))
        self.images = {split: load_split(data, split) for split in ("train", "val", "test")}
        self.labels = {
            split: torch.tensor([self.classes.index(label) for label in data.labels(split)]) for split in self.images
        }
        self.batch_size = min(batch_size, len(self.images["train"]))
        self.steps = epochs * (len(self.images["train"]) // self.batch_size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = SmallCnn(classes=len(self.classes), **network)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=learning_rate, weight_decay=0.01)

    @property
    def parts(self) -> dict[str, nn.Module | Optimizer]:
        """Network and optimizer."""
        return {"network": self.network, "optimizer": self.optimizer}

    def step(self, index: int) -> float:
        """One batch; its mean cross entropy in nats."""
        set_learning_rate(self.optimizer, self.learning_rate * warm_up_cosine((index + 1) / self.steps, WARM_UP))
        rows = batch_rows(len(self.images["train"]), self.batch_size, seed=self.seed, index=index)
        images = self.images["train"][rows].to(self.device).float() / 255
        mirrored = torch.rand(len(rows), 1, 1, 1, device=self.device) < 0.5
        scores = self.network(torch.where(mirrored, images.flip(3), images))
        loss = F.cross_entropy(scores, self.labels["train"][rows].to(self.device))
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.optimizer.step()
        return loss.item()

    @torch.inference_mode()
    def evaluate(self) -> dict[str, float]:
        """Accuracy on val and test."""
        return {f"accuracy_{split}": self.accuracy(split) for split in ("val", "test")}

    def accuracy(self, split: str) -> float:
        """Accuracy on a split."""
        correct = 0
        for start in range(0, len(self.labels[split]), BATCH_SIZE):
            images = self.images[split][start : start + BATCH_SIZE].to(self.device).float() / 255
            predicted = self.network(images).argmax(1).cpu()
            correct += int((predicted == self.labels[split][start : start + BATCH_SIZE]).sum())
        return correct / len(self.labels[split])

    def settings(self) -> dict[str, Any]:
        """Sizes and classes: `load` builds the network from them."""
        return {"network": self.sizes, "classes": self.classes}
