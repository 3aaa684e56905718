"""A lock that dies with its owner: a killed process, even an orphan of a killed dvc, never leaves it behind."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from icebox.features import files
from icebox.features.errors import IceboxError


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the advisory lock (flock) on `path`. Raises IceboxError at once where another process holds it."""
    with files.explained(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a")
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise IceboxError(
                f"{path.parent}: another process is working on this right now; "
                "wait for it, or end it (it may be the child of a dvc that was killed), then run this again"
            ) from None
        yield
