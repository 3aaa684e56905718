"""A dataset and a backbone that workers of an engine open, which note what passes, and end where a test wants it."""

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from icebox.features.abc.dataset import Content
from tests.tiny import Doubling


class Noting(Doubling):
    """Doubling that writes what passes it into a file of its process's own in `folder`, after `pause_s`.

    A process that meets "9<number>" for the first time, by a file in `folder`, is killed.
    """

    def __init__(self, folder: Path, *, pause_s: float = 0.0, version: int = 1) -> None:
        super().__init__(version=version)
        self.folder, self.pause_s = folder, pause_s

    def encode(self, prepared: Any) -> Any:
        time.sleep(self.pause_s)
        with (self.folder / f"passed-{os.getpid()}").open("a") as stream:
            stream.write("".join(f"{value:g}\n" for value in prepared))
        return super().encode(prepared)


@dataclass(frozen=True)
class Tiny:
    """Opens Noting. A worker that reads a source in `deadly` is killed, so many times."""

    folder: Path
    pause_s: float = 0.0
    version: int = 1
    deadly: dict[str, int] = field(default_factory=dict)

    def read(self, source: str) -> Content:
        for number in range(self.deadly.get(source, 0)):
            try:
                (self.folder / f"death-{source}-{number}").touch(exist_ok=False)
            except FileExistsError:
                continue
            os.kill(os.getpid(), signal.SIGKILL)
        return source

    def open(self, folder: Path | None = None) -> tuple[Any, Any]:
        self.folder.mkdir(exist_ok=True)
        return self.read, Noting(self.folder, pause_s=self.pause_s, version=self.version)


@dataclass(frozen=True)
class Elsewhere:
    """Opens Noting, with a file of weights in `net`, a folder that only the process `planner` has."""

    net: Path
    notes: Path
    planner: int

    @property
    def folder(self) -> Path:
        return self.net if os.getpid() == self.planner else Path("/not/on/this/machine")

    def open(self, folder: Path | None = None) -> tuple[Any, Any]:
        assert folder is not None
        (self.notes / (folder / "deep/weights").read_text()).touch()
        return Tiny(self.notes).open()


def passed(folder: Path) -> list[str]:
    """All that passed in workers."""
    return [line for path in folder.glob("passed-*") for line in path.read_text().split()]
