"""as_is: vectors as they are, for features that were made elsewhere."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from icebox.features.abc.backbone import Backbone, write_settings
from icebox.features.abc.dataset import Content, Modality
from icebox.features.errors import IceboxError, ItemError

VERSION = 1
DEFAULT_OUTPUTS = ("last",)


def fetch(folder: Path) -> None:
    """Nothing but the folder: there are no weights and no settings."""
    write_settings(folder, {"family": "as_is"})


def load(folder: Path, *, outputs: Sequence[str], device: str, precision: str = "float32") -> "AsIsBackbone":
    """The only output is `last`; `device` and `precision` make no difference."""
    if tuple(outputs) != DEFAULT_OUTPUTS:
        raise IceboxError(f"outputs: vectors as they are have only {list(DEFAULT_OUTPUTS)}, found {list(outputs)}")
    return AsIsBackbone()


class AsIsBackbone(Backbone):
    """A vector of d numbers, which the source `features` gives as a sequence of one step, → the same d numbers."""

    modality: ClassVar[Modality] = "sequence"
    outputs = DEFAULT_OUTPUTS

    @property
    def spec(self) -> dict[str, Any]:
        """The family: there is nothing to set."""
        fixed = {"family": "as_is", "version": VERSION, "weights": None, "preprocess": None}
        return {**fixed, "outputs": list(self.outputs), "precision": "float32"}

    def prepare(self, content: Content) -> np.ndarray:
        """(1, d) or (d,) → float32 (d,)."""
        if not isinstance(content, np.ndarray) or content.ndim > 2 or (content.ndim == 2 and len(content) != 1):
            shape = getattr(content, "shape", "no array")
            raise ItemError(f"as_is: expected a vector, found {shape}; sequences go through steps or recurrent")
        return content.reshape(-1).astype(np.float32)

    def encode(self, prepared: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """b vectors → {"last": float32 (b, d)}. Raises ItemError where they differ in length."""
        if len(lengths := {len(vector) for vector in prepared}) > 1:
            raise ItemError(f"as_is: expected vectors of one length, found {sorted(lengths)}")
        return {"last": np.stack(list(prepared))}
