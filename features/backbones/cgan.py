"""cgan: a gan whose two networks are given the class of an image; the features of its critic need no class.

features/models/gan.py explains the training.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from icebox.features.abc.backbone import Generator, read_settings
from icebox.features.manifest.reading import Examples
from icebox.features.models.gan import GanPretraining, GanSampler, load_networks
from icebox.features.models.small_images import SmallImageBackbone
from icebox.features.nn.layer_outputs import LAST

Loss = Literal["original", "wgan-gp"]

VERSION = 1
DEFAULT_OUTPUTS = (LAST,)


def pretraining(
    *,
    data: Examples,
    loss: Loss = "original",
    seed: int = 0,
    steps: int = 7000,
    batch_size: int = 64,
    learning_rate: float = 0.0002,
    critic_steps: int = 5,
    penalty: float = 10.0,
    z: int = 64,
    d: int = 256,
    width: int = 32,
) -> GanPretraining:
    """Learn to generate images of each class of the train split.

    `loss` is the original one or Wasserstein's with a gradient penalty of weight `penalty`, which alone takes
    `critic_steps` critic steps per generator step. Codes of `z` numbers, `d` features, `width` channels.
    """
    return GanPretraining(
        data,
        conditional=True,
        network={"z": z, "d": d, "width": width},
        loss=loss,
        seed=seed,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        critic_steps=critic_steps,
        penalty=penalty,
    )


def load(folder: Path, *, outputs: Sequence[str], device: str, precision: str = "float32") -> SmallImageBackbone:
    """The critic that `pretrain` left in `folder`. Outputs: `last`, or `stage1`…`stage3` with avg, max, flatten."""
    stored_network = load_networks(folder).to(device)
    return SmallImageBackbone(
        folder,
        stored_network.critic.reader,
        outputs,
        stored_network=stored_network,
        version=VERSION,
        precision=precision,
        device=device,
    )


def generator(folder: Path, *, device: str) -> Generator:
    """Makes images with the averaged generator."""
    return GanSampler(load_networks(folder), read_settings(folder, classes=[str])["classes"], device)
