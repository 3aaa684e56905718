"""Checkpoints of a training: after a kill it continues from the last whole one and ends at the same weights."""

import copy
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from icebox.features import files, fingerprint
from icebox.features.abc.backbone import Pretraining
from icebox.features.errors import cause, system_error

logger = logging.getLogger("icebox")

EVERY_S = 30.0  # of work, which is the most that a kill costs
NAME = re.compile(r".+-(?P<number>\d{8})-(?P<sha256>[0-9a-f]{64})\.pt")


class CheckpointFiles:
    """The last two checkpoints of a training: `checkpoint-NUMBER-SHA256.pt` beside `path`, `checkpoint.pt`.

    The number is that of the steps or epochs done. A file whose bytes are not those of its name, or that does not fit
    the training, counts as none, which is told; then the one before it is taken.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last: Path | None = None  # saved, or restored from

    def save(self, number: int, state: dict[str, Any]) -> None:
        """Write a checkpoint of tensors and plain values, whole or not at all."""
        with files.temporary_in(self.path.parent) as temporary:
            with temporary.open("wb") as stream:
                torch.save(state, stream)
            target = self.path.with_name(f"{self.path.stem}-{number:08}-{fingerprint.of_file(temporary)}.pt")
            files.publish(temporary, target)
        for path in self._files():
            if path not in (target, self.last):
                path.unlink(missing_ok=True)
        self.last = target

    def restore(self, into: Callable[[dict[str, Any]], None]) -> bool:
        """Give the state of the newest whole checkpoint that fits to `into`, which raises where it does not fit.

        False where there is none. Raises IceboxError for one that can't be read now.
        """
        for path in self._files():
            try:
                self._restore_from(path, into)
            except FileNotFoundError:
                continue
            except Exception as reason:  # whatever torch and the parts of a training raise
                if refusal := system_error(reason, path):
                    raise refusal from reason
                logger.warning("%s: %s; it counts as none", path, cause(reason))
                continue
            self.last = path
            return True
        return False

    def _restore_from(self, path: Path, into: Callable[[dict[str, Any]], None]) -> None:
        match = NAME.fullmatch(path.name)
        if not match:
            raise ValueError("a checkpoint without a sha256 in its name")
        if fingerprint.of_file(path) != match["sha256"]:
            raise ValueError("its bytes have changed")
        into(torch.load(path, map_location="cpu", weights_only=True))

    def remove(self) -> None:
        """Delete all: the training is complete."""
        for path in self._files():
            path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        """The newest first; those of other names last."""
        found = self.path.parent.glob(f"{self.path.stem}*.pt")
        return sorted(found, key=lambda path: (bool(NAME.fullmatch(path.name)), path.name), reverse=True)


@contextmanager
def unchanged_on_failure(parts: Mapping[str, Any]) -> Iterator[None]:
    """Give modules and optimizers their state back where a checkpoint, halfway in, turns out not to fit."""
    before = {name: copy.deepcopy(part.state_dict()) for name, part in parts.items()}
    try:
        yield
    except Exception:
        for name, part in parts.items():
            part.load_state_dict(before[name])
        raise


class Checkpoint:
    """The checkpoints of a pretraining, one at most every `every_s` seconds.

    `path` contains a hash of everything that determines the training, so that of another is never loaded.
    """

    def __init__(self, path: Path, *, every_s: float = EVERY_S) -> None:
        self.files, self.every_s = CheckpointFiles(path), every_s
        self.saved_at_s = time.monotonic()

    def restore(self, pretraining: Pretraining) -> list[float]:
        """Load the state of the pretraining's parts. Returns the losses of the steps taken: none without a file."""
        losses: list[float] = []

        def into(state: dict[str, Any]) -> None:
            with unchanged_on_failure(pretraining.parts):
                for name, part in pretraining.parts.items():
                    part.load_state_dict(state["parts"][name])
                losses.extend(float(loss) for loss in state["losses"])

        self.files.restore(into)
        return losses

    def save_if_due(self, pretraining: Pretraining, losses: list[float]) -> None:
        """Write the state of the parts and the losses, if the last write is `every_s` seconds ago."""
        if time.monotonic() - self.saved_at_s < self.every_s:
            return
        parts = {name: part.state_dict() for name, part in pretraining.parts.items()}
        self.files.save(len(losses), {"parts": parts, "losses": losses})
        self.saved_at_s = time.monotonic()

    def remove(self) -> None:
        """Delete all: the training is complete."""
        self.files.remove()
