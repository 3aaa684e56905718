"""Files that others wait for: written whole or not at all, locked by one process, and kept inside their folder."""

import errno
import hashlib
import logging
import os
import platform
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

from icebox.features.errors import IceboxError, system_error
from icebox.features.names import PATH_CHARACTERS, in_line

logger = logging.getLogger("icebox")

PATIENCE_S = 10.0  # of a waiting process, before it says that it waits
TEMPORARY = ".tmp-"
TEMPORARY_NAME = re.compile(r"\.tmp-(?P<pid>\d+)-(?P<host>[0-9a-f]{6})?[0-9a-f]{8}")
open_temporaries: set[str] = set()  # names that this process is writing to
swept: set[Path] = set()  # folders that this process has swept: a scan at each of many files would be quadratic
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def temporary_in(folder: Path) -> Iterator[Path]:
    """Yield a temporary path in `folder`, for a file or a folder; at the end what is there is removed, unless renamed.

    Once a process and folder, first removes what writers that were killed have left there. Raises IceboxError where the
    disk is full or read-only.
    """
    path = folder / f"{TEMPORARY}{os.getpid()}-{host()}{secrets.token_hex(4)}"
    open_temporaries.add(path.name)
    try:
        with refusal_explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            if (whole := folder.absolute()) not in swept:
                sweep_dead(folder)
                swept.add(whole)
            yield path
    finally:
        remove(path)
        open_temporaries.discard(path.name)


@cache
def host() -> str:
    """Six hex digits for this machine, which tell its processes from those of others that share a disk."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:6]


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
            raise system_error(reason) or reason from reason
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


@contextmanager
def replacing_together(*targets: Path) -> Iterator[list[Path]]:
    """Yield a temporary path for each of several files that belong together and take their names at once on success.

    The last one is the mark of completeness: it goes first and comes last, so that a kill at any moment leaves the old
    files, the new ones, or some without the last; never files of two writes beside it.
    """
    with ExitStack() as stack:
        temporaries = [stack.enter_context(temporary_in(target.parent)) for target in targets]
        yield temporaries
        for temporary in temporaries:
            flush(temporary)
        set_aside: list[tuple[Path, Path]] = []
        published: list[Path] = []
        try:
            for target in reversed(targets):
                if target.exists():
                    aside = stack.enter_context(temporary_in(target.parent))
                    target.replace(aside)
                    set_aside.append((aside, target))
            for temporary, target in zip(temporaries, targets, strict=True):
                temporary.replace(target)
                published.append(target)
        except BaseException:
            for target in reversed(published):
                target.unlink()
            for aside, target in reversed(set_aside):
                aside.replace(target)
            raise
        for folder in {target.parent for target in targets}:
            flush(folder)


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
    """Remove all temporary files. Only for the holder of the folder's lock: no other process writes there then."""
    for leftover in folder.glob(f"{TEMPORARY}*"):
        if leftover.name not in open_temporaries:
            remove(leftover)


def sweep_dead(folder: Path) -> None:
    """Remove the temporary files of this machine's processes that have ended; those of others may be in use."""
    with suppress(OSError), os.scandir(folder) as entries:
        for leftover in [Path(entry) for entry in entries if entry.name.startswith(TEMPORARY)]:
            if is_abandoned(leftover.name):
                remove(leftover)


def is_abandoned(name: str) -> bool:
    """Whether the writer of a temporary file with this name has certainly ended."""
    match = TEMPORARY_NAME.fullmatch(name)
    if not match or name in open_temporaries or match["host"] not in (None, host()) or os.name != "posix":
        return False
    if int(match["pid"]) == os.getpid():  # of an earlier process with the same number, as they have in containers
        return True
    try:
        os.kill(int(match["pid"]), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # another user's
        return False
    return False


def remove(path: Path) -> None:
    """Remove a temporary file or folder; one that can't be removed (another user's, a read-only disk) stays."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def exists(path: Path) -> bool:
    """Whether there is such a file or folder. Raises IceboxError where that can't be known."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as reason:
        raise unreadable(path, reason) from reason
    return True


def folders(path: Path) -> list[Path]:
    """The folders in a folder. Raises IceboxError where it can't be listed, which `glob` hides."""
    try:
        return sorted(entry for entry in path.iterdir() if entry.is_dir())
    except OSError as reason:
        raise unreadable(path, reason) from reason


def unreadable(path: Path, reason: BaseException) -> IceboxError:
    """The error for a file that can't be read now, and may well be whole."""
    explained = system_error(reason, path)
    return explained or IceboxError(f"{path}: can't be read: {' '.join(str(reason).split())}")


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the operating system's advisory lock on `path`, which ends with its process however that ends.

    Where another process holds it, waits (and says so when that takes long), or else raises IceboxError at once. The
    file stays: removing one that another process is about to lock would give the lock to two.
    """
    import filelock  # here, since the import takes 75 ms, and most commands take no lock

    with refusal_explained(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = path.parent.stat().st_mode & 0o666  # who may write to the folder may lock it
        # without the fallback, a lock file that outlives a killed process would stand in where flock is missing
        lock = filelock.FileLock(path, mode=mode, fallback_to_soft=False)
        try:
            lock.acquire(timeout=PATIENCE_S if wait else 0)
        except filelock.Timeout:
            if not wait:
                raise busy(path.parent) from None
            logger.warning("%s: another process is working on this right now; waiting for it to end", path.parent)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def locked_together(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock of `locked` beside others that hold it so: it keeps those out that want it alone.

    Where one holds it alone, waits (and says so), or else raises IceboxError at once.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no shared locks: one after the other
        with locked(path, wait=True):
            yield
        return
    with refusal_explained(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, path.parent.stat().st_mode & 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise busy(path.parent) from None
            logger.warning("%s: another process is working on this right now; waiting for it to end", path.parent)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def busy(folder: Path) -> IceboxError:
    """The error for a folder that another process has locked."""
    return IceboxError(
        f"{folder}: another process is working on this right now; wait for it, or end it, then run this again",
        hint="end the other process",
    )


class LinkTargets:
    """Folders outside a dataset's own into which its links may lead: the cache of a tool that keeps files elsewhere.

    `find` gives them, links followed; it is called only where a link leads out.
    """

    find: Callable[[], Sequence[Path]] = tuple


def contained_path(root: Path, name: str) -> Path:
    """The path of the file `name` in `root`, links followed.

    Raises IceboxError where it lies neither in `root` nor in one of the LinkTargets.
    """
    shown = shown_path(root, name)
    try:
        path = (root / name).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a link to itself, a NUL character in the name
        raise IceboxError(f"datasets: {shown} is no path of a file: {error}") from error
    if not path.is_relative_to(root.resolve()) and not (
        is_link_in(root, name) and any(path.is_relative_to(target) for target in LinkTargets.find())
    ):
        raise IceboxError(f"datasets: {shown} leads out of the folder, to {path}; put the file itself there")
    return path


def shown_path(root: Path, name: str) -> str:
    """The path of a file as errors show it; of a bucket, also one that leads out of the folder."""
    try:
        path = str(root / name)
    except (IceboxError, ValueError):
        path = f"{root}/{name}"
    return in_line(path, characters=PATH_CHARACTERS)


def is_link_in(root: Path, name: str) -> bool:
    """Whether the file `name`, as it is spelled, lies in `root`, so that only a link can lead out."""
    return Path(os.path.normpath(root / name)).is_relative_to(os.path.normpath(root))


def read_contained(root: Path, name: str) -> bytes:
    """The bytes of the file `name` in `root`. Raises IceboxError for one that is gone, unreadable or outside `root`."""
    path = contained_path(root, name)
    shown = shown_path(root, name)
    try:
        if path.is_file() or not path.exists():  # opening a pipe would wait for ever
            return path.read_bytes()
    except OSError as error:
        raise IceboxError(f"datasets: {shown} can't be read: {error.strerror}") from error
    raise IceboxError(f"datasets: {shown} is no file, but a folder, pipe, socket or device; put the file there")
