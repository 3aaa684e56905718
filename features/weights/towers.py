"""Networks of two towers, which place images and texts in one space: CLIP, SigLIP, ALIGN, Chinese-CLIP and others.

A tower is used, trained and saved by itself: its config, its weights and its projection.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from safetensors.torch import save_file
from torch import nn

from icebox.features.errors import IceboxError
from icebox.features.nn.embeddings import EMBEDDING, Projection
from icebox.features.nn.transfer import plain_state
from icebox.features.weights import checkpoints

Side = Literal["vision", "text"]
TOWERS = {"vision": "vision_model", "text": "text_model"}  # names of the parts of the whole network
PROJECTIONS = {"vision": "visual_projection", "text": "text_projection"}  # of which SigLIP has none, ALIGN one
PROJECTION_FILE = "projection.safetensors"  # that of a tower that was saved by itself
# Text towers that end in their first token; others in what they call their pooled output: CLIP's in the token that ends
# a text, SigLIP's in the last one, padding included.
FIRST_TOKEN = {"align_text_model", "altclip_text_model", "chinese_clip_text_model"}

WITHOUT_PROJECTION = {"align_vision_model", "siglip2_text_model", "siglip_text_model", "siglip_vision_model"}
UNSUPPORTED = {  # towers that can't be used as they are, and why
    "siglip2_vision_model": "takes pictures as patches of any number (NaFlex); take one of SigLIP 2's networks of a "
    "fixed size, whose config.json says siglip",
    "aimv2_text_model": "sees, in transformers, the tokens behind each token or not, as the texts beside it are long; "
    "its tower of images can be used",
}


@dataclass(frozen=True)
class Tower:
    """One tower, the names of those of its parameters that the weights lack, and the way from its output to the shared
    space; no `embedding` where the network has one tower only (the encoder of images of a language model)."""

    network: Any
    missing: list[str]
    embedding: Projection | None


def take(
    network: Any, missing: Sequence[str], side: Side, *, outputs: Sequence[str], folder: Path, saved: bool
) -> Tower:
    """The tower of a network that has just been loaded; or the network itself, where it is one that was `saved` by
    itself, one of SigLIP, or has no such tower.

    Raises IceboxError for a tower that can't be used, and where `embedding` is asked for and the weights lack its
    projection.
    """
    if saved:
        tower = Tower(network, list(missing), saved_projection(network, folder))
    elif TOWERS[side] in dict(network.named_children()):
        tower = part_of(network, missing, side, outputs=outputs, folder=folder)
    else:
        alone = network.config.model_type in WITHOUT_PROJECTION
        tower = Tower(network, list(missing), projection_of(network, None) if alone else None)
    if reason := UNSUPPORTED.get(kind := tower.network.config.model_type):
        raise IceboxError(f"{folder.name}: {kind} {reason}")
    return tower


def part_of(network: Any, missing: Sequence[str], side: Side, *, outputs: Sequence[str], folder: Path) -> Tower:
    """The tower that is one part of a network."""
    parts = dict(network.named_children())
    tower, name = parts[TOWERS[side]], PROJECTIONS[side]
    embedding = None
    if set(TOWERS.values()) <= parts.keys() or name in parts:
        if EMBEDDING in outputs and (lacking := [key for key in missing if key.startswith(f"{name}.")]):
            raise IceboxError(f"the weights in {folder} lack '{lacking[0]}', which the output '{EMBEDDING}' needs")
        embedding = projection_of(tower, parts.get(name))
    if embedding is not None:
        embedding.logit_scale, embedding.logit_bias = logits_of(network)
    prefix = f"{TOWERS[side]}."
    return Tower(tower, [key.removeprefix(prefix) for key in missing if key.startswith(prefix)], embedding)


def logits_of(network: Any) -> tuple[float | None, float]:
    """The factor and the summand by which a network of two towers makes logits of cosines; (None, 0) where it says
    none."""
    numbers = {
        name: float(value.detach()) for name, value in network.named_parameters(recurse=False) if value.numel() == 1
    }
    if "temperature" in numbers:  # ALIGN's
        return 1 / numbers["temperature"], 0.0
    scale = numbers.get("logit_scale")
    return None if scale is None else math.exp(scale), numbers.get("logit_bias", 0.0)


def projection_of(tower: Any, projection: nn.Module | None) -> Projection | None:
    """The way from a tower's output to the shared space; None where it is more than a linear layer (GroupViT's)."""
    if projection is not None and not isinstance(projection, nn.Linear):
        return None
    return Projection(projection, first_token=tower.config.model_type in FIRST_TOKEN)


def save(tower: Any, embedding: Projection, folder: Path) -> str:
    """Write the config and the projection of a tower that is saved by itself → its class, for the settings' `tower`.

    transformers knows no class for the configs of most text towers, SigLIP's among them.
    """
    tower.config.save_pretrained(folder)
    if state := plain_state(embedding):
        save_file(state, folder / PROJECTION_FILE)
    return type(tower).__name__


def saved_projection(tower: Any, folder: Path) -> Projection | None:
    """The way to the shared space of a tower that was saved by itself."""
    if not (folder / PROJECTION_FILE).is_file():
        return projection_of(tower, None)
    tensors = checkpoints.read_tensors(folder / PROJECTION_FILE)
    state = {key.removeprefix("projection."): tensor for key, tensor in tensors.items()}
    rows, columns = state["weight"].shape
    linear = nn.Linear(columns, rows, bias="bias" in state)
    linear.load_state_dict(state)
    return projection_of(tower, linear)
