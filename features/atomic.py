"""Write a file that others wait for: whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY = ".tmp-"


@contextmanager
def temporary_in(folder: Path) -> Iterator[Path]:
    """Yield a path in `folder` to write to, and remove it at the end unless `publish` has given it its name."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def publish(temporary: Path, target: Path) -> None:
    """Flush a finished temporary file to the disk and rename it to `target`, in the same folder."""
    flush(temporary)
    temporary.replace(target)
    flush(target.parent)


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target` that takes its name on success and vanishes on failure.

    A kill at any moment leaves the old file or the new one, and at worst a temporary file that `sweep` removes.
    """
    with temporary_in(target.parent) as temporary:
        yield temporary
        publish(temporary, target)


def write_text(target: Path, text: str) -> None:
    """Write a small text file, whole or not at all."""
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def flush(path: Path) -> None:
    """Have the operating system put a file, or a folder's list of names, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Remove what killed writers left. Only for the holder of the folder's lock."""
    for leftover in folder.glob(f"{TEMPORARY}*"):
        leftover.unlink(missing_ok=True)
