"""Load a backbone that `fetch` or `pretrain` left in `data/backbones/`."""

import sys

from features import plugins
from features.backbones.base import SETTINGS_FILE, Backbone
from features.errors import IceboxError
from pipeline import paths


def load(name: str, family: str, outputs: list[str] | None) -> Backbone:
    """The frozen network, giving the outputs asked for or else its family's own, on a GPU where torch sees one."""
    folder = paths.backbone(name)
    if not (folder / SETTINGS_FILE).exists():
        raise IceboxError(f"{folder}: no backbone here; run: dvc repro, or dvc pull {folder}")
    module = plugins.load("features.backbones", family)
    try:
        loaded: Backbone = module.load(folder, outputs=outputs or list(module.DEFAULT_OUTPUTS), device=device())
    except IceboxError as reason:
        raise IceboxError(f"backbone '{name}': {reason}") from reason
    return loaded


def device() -> str:
    """Where networks run. A family that has not imported torch has no network, and must not pay for the import."""
    torch = sys.modules.get("torch")
    return "cuda" if torch and torch.cuda.is_available() else "cpu"
