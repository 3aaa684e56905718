"""steps: the numbers of a sequence, padded and flattened, the input of a classical head without a network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge

from icebox.features.abc.backbone import Backbone, read_settings, write_settings
from icebox.features.abc.dataset import Content, Modality
from icebox.features.errors import ItemError
from icebox.features.json_files import POSITIVE

VERSION = 1
DEFAULT_OUTPUTS = ("last",)


def fetch(
    folder: Path,
    *,
    steps: Annotated[int, Ge(1)],
    width: Annotated[int, Ge(1)] = 10,
    keep: Literal["first", "last"] = "first",
) -> None:
    """Keep the settings. `keep`: the first or the last `steps` steps; shorter sequences are padded with zeros at the
    other side. `width`: numbers per step."""
    write_settings(folder, {"steps": steps, "width": width, "keep": keep})


def load(folder: Path, *, outputs: Sequence[str], device: str, precision: str = "float32") -> "StepsBackbone":
    """The only output is `last`; `device` and `precision` make no difference."""
    return StepsBackbone(read_settings(folder, steps=POSITIVE, width=POSITIVE, keep=frozenset({"first", "last"})))


class StepsBackbone(Backbone):
    """(t, d) → steps · d numbers."""

    modality: ClassVar[Modality] = "sequence"
    outputs = DEFAULT_OUTPUTS

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings

    @property
    def spec(self) -> dict[str, Any]:
        """Steps, width and side."""
        fixed = {"family": "steps", "version": VERSION, "outputs": list(self.outputs), "precision": "float32"}
        return {**fixed, **self.settings}

    def prepare(self, content: Content) -> np.ndarray:
        """(t, d) → (steps, d), in the order of the steps."""
        steps, width, keep = (self.settings[name] for name in ("steps", "width", "keep"))
        if not isinstance(content, np.ndarray) or content.ndim != 2 or content.shape[1] != width:
            raise ItemError(f"steps: expected a sequence (t, {width}), found {getattr(content, 'shape', 'no array')}")
        kept = content[:steps] if keep == "first" else content[-steps:]
        missing = steps - len(kept)
        return np.pad(kept.astype(np.float32), ((0, missing) if keep == "first" else (missing, 0), (0, 0)))

    def encode(self, prepared: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """b arrays (steps, d) → {"last": (b, steps · d)}."""
        return {"last": np.stack(prepared).reshape(len(prepared), -1)}
