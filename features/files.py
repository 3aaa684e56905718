"""Files that others wait for: written whole or not at all, locked by one process, and kept inside their folder."""

import errno
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from icebox.features.errors import IceboxError

TEMPORARY = ".tmp-"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def temporary_in(folder: Path) -> Iterator[Path]:
    """Yield a temporary path in `folder` to write to, and remove it at the end unless `publish` has renamed it.

    Raises IceboxError where the disk is full or read-only.
    """
    path = folder / f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}"
    try:
        with refusal_explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            yield path
    finally:
        with suppress(OSError):  # on a read-only disk even the removal of what was never written is an error
            path.unlink()


@contextmanager
def refusal_explained(folder: Path) -> Iterator[None]:
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
    """fsync a file, or a folder's list of names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Remove the temporary files that killed writers left. Only for the holder of the folder's lock."""
    for leftover in folder.glob(f"{TEMPORARY}*"):
        leftover.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the operating system's advisory lock on `path`, which ends with its process however that ends.

    Where another process holds it, waits, or else raises IceboxError at once. The file stays: removing one that another
    process is about to lock would give the lock to two.
    """
    import filelock  # here, since the import takes 75 ms, and most commands take no lock

    # without the fallback, a lock file that outlives a killed process would stand in where flock is missing
    lock = filelock.FileLock(path, blocking=wait, fallback_to_soft=False)
    with refusal_explained(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise IceboxError(
                f"{path.parent}: another process is working on this right now; "
                "wait for it, or end it, then run this again",
                hint="end the other process",
            ) from None
    try:
        yield
    finally:
        lock.release()


class LinkTargets:
    """Folders outside a dataset's own into which its links may lead: the cache of a tool that keeps files elsewhere.

    `find` gives them, links followed; it is called only where a link leads out.
    """

    find: Callable[[], Sequence[Path]] = tuple


def contained_path(root: Path, name: str) -> Path:
    """The path of the file `name` in `root`, links followed.

    Raises IceboxError where it lies neither in `root` nor in one of the LinkTargets.
    """
    try:
        path = (root / name).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a link to itself, a NUL character in the name
        raise IceboxError(f"datasets: {str(root / name)!r} is no path of a file: {error}") from error
    if not path.is_relative_to(root.resolve()) and not (
        is_link_in(root, name) and any(path.is_relative_to(target) for target in LinkTargets.find())
    ):
        raise IceboxError(f"datasets: {root / name} leads out of the folder, to {path}; put the file itself there")
    return path


def is_link_in(root: Path, name: str) -> bool:
    """Whether the file `name`, as it is spelled, lies in `root`, so that only a link can lead out."""
    return Path(os.path.normpath(root / name)).is_relative_to(os.path.normpath(root))


def read_contained(root: Path, name: str) -> bytes:
    """The bytes of the file `name` in `root`. Raises IceboxError for one that is gone, unreadable or outside `root`."""
    path = contained_path(root, name)
    if path.exists() and not path.is_file():  # opening a pipe would wait for ever
        raise IceboxError(
            f"datasets: {root / name} is no file, but a folder, pipe, socket or device; put the file itself there"
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise IceboxError(f"datasets: {root / name} can't be read: {error.strerror}") from error
