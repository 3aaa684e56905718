"""A fuzz target: files, and the code of ours that reads them. Whatever stands in a file, reading ends in one line."""

import contextlib
import io
from abc import ABC, abstractmethod
from pathlib import Path
from random import Random
from typing import ClassVar

from icebox.features.errors import IceboxError
from icebox.pipeline.project import hints
from tests.fuzz.mutations import mutate

LINE_MAX = 2000  # characters of an error


class Target(ABC):
    """One kind of file. All paths are relative to the working folder, which is the target's own."""

    name: str
    share: ClassVar[float] = 1.0  # of the inputs of a run: less where one takes long

    @abstractmethod
    def samples(self) -> list[tuple[Path, bytes]]:
        """Whole files, as they are written; called once."""

    @abstractmethod
    def read(self, path: Path) -> None:
        """Read the file as a command does."""

    def prepare(self, folder: Path) -> None:  # noqa: B027
        """Put what else reading needs into the folder."""

    def mutated(self, content: bytes, random: Random) -> bytes:
        """The content of a sample, changed."""
        return mutate(content, random)


class Run:
    """A target in its working folder, where inputs are tried by their seeds."""

    def __init__(self, target: Target, folder: Path) -> None:
        self.target, self.folder = target, folder
        target.prepare(folder)
        with contextlib.chdir(folder):
            self.samples = target.samples()
            for path, content in self.samples:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            for path, _ in self.samples:
                target.read(path)  # before anything is changed

    def input_of(self, seed: int) -> tuple[Path, bytes]:
        """The file and the content of one input."""
        random = Random(f"{self.target.name} {seed}")
        path, content = random.choice(self.samples)
        return path, self.target.mutated(content, random)

    def attempt(self, seed: int) -> str:
        """Read one input → "read", or the one line by which it was refused. Any other error goes through."""
        path, content = self.input_of(seed)
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(io.StringIO()):
            whole = path.read_bytes()
            path.write_bytes(content)
            try:
                self.target.read(path)
            except IceboxError as error:
                return hints.with_hint(error)
            finally:
                path.write_bytes(whole)
        return "read"
