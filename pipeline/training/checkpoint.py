"""Where a training stands, on the disk: a killed one goes on from there and ends at the same weights."""

import pickle
import time
from pathlib import Path
from typing import Any

import torch

from icebox.features import files
from icebox.features.abc.backbone import Pretraining

EVERY_S = 30.0  # what a kill can cost


class Checkpoint:
    """A file beside no other's: its path is made of all that determines the training, so it fits or is not there."""

    def __init__(self, path: Path, *, every_s: float = EVERY_S) -> None:
        self.path, self.every_s = path, every_s
        self.written_s = time.monotonic()

    def restore(self, pretraining: Pretraining) -> list[float]:
        """Put the parts back to where they were and return the losses of the steps taken; none without a file.

        Holds tensors and plain values only, and is read as such. An unreadable file is as good as none.
        """
        try:
            found: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        except (FileNotFoundError, RuntimeError, EOFError, pickle.UnpicklingError):
            return []
        for name, part in pretraining.parts.items():
            part.load_state_dict(found["parts"][name])
        losses: list[float] = found["losses"]
        return losses

    def keep(self, pretraining: Pretraining, losses: list[float]) -> None:
        """Write where the training stands, if the last time was long enough ago."""
        if time.monotonic() - self.written_s < self.every_s:
            return
        parts = {name: part.state_dict() for name, part in pretraining.parts.items()}
        with files.replacing(self.path) as temporary, temporary.open("wb") as stream:
            torch.save({"parts": parts, "losses": losses}, stream)
        self.written_s = time.monotonic()

    def drop(self) -> None:
        """The training is over."""
        self.path.unlink(missing_ok=True)
