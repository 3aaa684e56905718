"""Checkpoints of a pretraining: after a kill it continues from the last one and ends at the same weights."""

import pickle
import time
from pathlib import Path
from typing import Any

import torch

from icebox.features import files
from icebox.features.abc.backbone import Pretraining

EVERY_S = 30.0  # of work, which is the most that a kill costs


class Checkpoint:
    """One checkpoint file, written at most every `every_s` seconds.

    Its path contains a hash of everything that determines the training, so a checkpoint of another training is never
    loaded.
    """

    def __init__(self, path: Path, *, every_s: float = EVERY_S) -> None:
        self.path, self.every_s = path, every_s
        self.saved_at_s = time.monotonic()

    def restore(self, pretraining: Pretraining) -> list[float]:
        """Load the state of the pretraining's parts. Returns the losses of the steps taken: none without a file.

        The file holds tensors and plain values only, and is opened as such. An unreadable file counts as none.
        """
        try:
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        except (FileNotFoundError, RuntimeError, EOFError, pickle.UnpicklingError):
            return []
        for name, part in pretraining.parts.items():
            part.load_state_dict(state["parts"][name])
        losses: list[float] = state["losses"]
        return losses

    def save_if_due(self, pretraining: Pretraining, losses: list[float]) -> None:
        """Write the state of the parts and the losses, if the last write is `every_s` seconds ago."""
        if time.monotonic() - self.saved_at_s < self.every_s:
            return
        parts = {name: part.state_dict() for name, part in pretraining.parts.items()}
        with files.replacing(self.path) as temporary, temporary.open("wb") as stream:
            torch.save({"parts": parts, "losses": losses}, stream)
        self.saved_at_s = time.monotonic()

    def remove(self) -> None:
        """Delete the file: the training is complete."""
        self.path.unlink(missing_ok=True)
