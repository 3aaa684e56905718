"""Write a file that others wait for: whole or not at all."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from icebox.features.errors import IceboxError

TEMPORARY = ".tmp-"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def temporary_in(folder: Path) -> Iterator[Path]:
    """Yield a path in `folder` to write to, and remove it at the end unless `publish` has given it its name.

    Raises IceboxError where the disk is full or read-only.
    """
    path = folder / f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}"
    try:
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            yield path
    finally:
        with suppress(OSError):  # on a read-only disk even the removal of what was never written is an error
            path.unlink()


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write into `folder` into an IceboxError that says what to do."""
    try:
        yield
    except OSError as reason:
        if reason.errno in FULL:
            advice = "free some space there (or raise the quota or ulimit)"
        elif reason.errno in FORBIDDEN:
            advice = "make it writable for you"
        else:
            raise
        raise IceboxError(
            f"{folder}: can't write here ({os.strerror(reason.errno)}); {advice}, then run this again: "
            "what is finished is kept"
        ) from reason


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
