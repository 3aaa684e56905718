"""Load a backbone that `fetch` or `pretrain` left in `data/backbones/`."""

import sys
from collections.abc import Callable
from typing import Any

from icebox.features import plugins
from icebox.features.abc.backbone import SETTINGS_FILE, Backbone
from icebox.features.abc.dataset import Content
from icebox.features.errors import IceboxError, located
from icebox.features.extraction import precision_trial
from icebox.features.extraction.precision import Precision, resolve
from icebox.pipeline.project import paths


def load(name: str, family: str, outputs: list[str] | None, *, precision: str, **options: Any) -> Backbone:
    """The frozen network, giving the outputs asked for or else its family's own, on a GPU where torch sees one.

    `options` are more keywords of the family's `load`: `size`, `decode`.
    """
    folder = paths.backbone(name)
    if not (folder / SETTINGS_FILE).exists():
        raise IceboxError(f"{folder}: no backbone here; run: dvc repro, or dvc pull {folder}")
    module = plugins.load("icebox.features.backbones", family)
    with located(f"backbone '{name}'"):
        loaded: Backbone = module.load(
            folder, outputs=outputs or list(module.DEFAULT_OUTPUTS), device=device(), precision=precision, **options
        )
    return loaded


def load_for(
    name: str,
    family: str,
    outputs: list[str] | None,
    *,
    precision: Precision,
    contents: Callable[[], list[Content]],
    **options: Any,
) -> Backbone:
    """The network in the precision asked for; `auto` is tried on `contents`, unless it was found before."""
    plugins.load("icebox.features.backbones", family)  # so that device() knows whether it is a network
    fast = resolve(precision, device()) if "torch" in sys.modules else "float32"
    if precision != "auto" or fast == "float32":
        return load(name, family, outputs, precision=fast, **options)

    def load_in(format_: str) -> Backbone:
        return load(name, family, outputs, precision=format_, **options)

    network, why = precision_trial.choose(fast, load_in, contents, paths.PLANS)
    print(f"{name}: {network.spec['precision']} ({why})")
    return network


def device() -> str:
    """Where networks run. A family that has not imported torch has no network, and must not pay for the import."""
    torch = sys.modules.get("torch")
    return "cuda" if torch and torch.cuda.is_available() else "cpu"
