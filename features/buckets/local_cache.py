"""Copies of objects on this machine: a folder of bounded size, of which the least recently used go.

Several processes may use it. A copy appears whole under its name; one that is pinned, or that a process with a lease
uses, or that a store holds by a hard link, stays. `.icebox/buckets` of the working folder, else the user's cache.
"""

import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from icebox.features import files
from icebox.features.errors import IceboxError

BYTES_VARIABLE = "ICEBOX_CACHE_BYTES"
BYTES_MAX = 20 << 30
UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
PROJECT = Path(".icebox")
LEASED = "shards"  # the folder of what stays while a process with a lease uses it
KEPT = 0.9  # of the limit, after a clearing
BETWEEN_CLEARINGS = 1 / 32  # of the limit, written by one process
PINS = 64
USED_AGAIN_S = 60.0  # the time of use is no more exact


def limit_bytes() -> int:
    """The size that the copies may have together."""
    text = os.environ.get(BYTES_VARIABLE, "")
    match = re.fullmatch(r"(\d+)\s*([KMGT]?)B?", text.strip().upper()) if text else None
    if text and not match:
        raise IceboxError(f"{BYTES_VARIABLE}: expected bytes, as 20000000000 or 20G, found {text!r}")
    return int(match[1]) << UNITS[match[2]] if match else BYTES_MAX


def local_cache() -> "LocalCache":
    """The cache of this process's working folder."""
    if PROJECT.is_dir():
        return cache_in((PROJECT / "buckets").resolve(), os.getpid())
    import platformdirs

    return cache_in(platformdirs.user_cache_path("icebox", appauthor=False) / "buckets", os.getpid())


@cache
def cache_in(folder: Path, pid: int) -> "LocalCache":
    """The cache in a folder, one in a process, since it counts what it writes."""
    return LocalCache(folder)


@dataclass(frozen=True)
class Copy:
    """A file of the cache: its path, size, and when it was last used."""

    path: Path
    size_bytes: int
    used_s: float


class LocalCache:
    """Files under names that tell their contents, made by whoever asks first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._written_bytes: int | None = None  # since the last clearing; None before the first
        self._pins: OrderedDict[Path, int] = OrderedDict()
        self._lock = threading.Lock()
        self._lease: int | None = None

    def file(self, name: str, size_bytes: int | None, make: Callable[[Path], None], *, pin: bool = False) -> Path:
        """The path of the copy `name`, which `make(temporary path)` writes where it is missing or of another size.

        With `pin` it stays for as long as this process lives, or until PINS others were pinned after it.
        """
        path = self.folder / name
        while True:
            if not use(path, size_bytes):
                with files.temporary_in(path.parent) as temporary:
                    make(temporary)
                    temporary.chmod(temporary.stat().st_mode & 0o444)
                    written = temporary.stat().st_size
                    temporary.replace(path)
                self._count(written, path)
            if not pin or self._pin(path):
                return path

    def read(self, name: str, size_bytes: int | None, make: Callable[[], bytes]) -> bytes:
        """The bytes of the copy `name`; `make` gives them where there is none."""
        path = self.folder / name
        if use(path, size_bytes):
            with suppress(FileNotFoundError):  # it went in between
                content = path.read_bytes()
                if size_bytes in (None, len(content)):
                    return content
        content = make()
        with files.temporary_in(path.parent) as temporary:
            temporary.write_bytes(content)
            temporary.replace(path)
        self._count(len(content), path)
        return content

    def lease(self) -> None:
        """Keep all of LEASED that is used from now on, by whomever, for as long as this process lives."""
        with self._lock:
            if self._lease is None:
                folder = self.folder / "leases"
                folder.mkdir(parents=True, exist_ok=True)
                path = folder / f"{os.getpid()}-{files.host()}-{time.time_ns()}"
                self._lease = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
                held(self._lease, shared=False)

    def clear(self, *, keep: Path | None = None) -> None:
        """Remove the least recently used copies, but the one to `keep`, until the rest is within the limit.

        Another process may be clearing already.
        """
        limit = limit_bytes()
        with suppress(IceboxError), files.locked(self.folder / "lock"):
            copies = sorted(self._copies(), key=lambda copy: copy.used_s)
            total = sum(copy.size_bytes for copy in copies)
            if total <= limit:
                return
            leased_s = self._oldest_lease_s()
            for copy in copies:
                if total <= KEPT * limit:
                    return
                if copy.used_s >= leased_s and LEASED in copy.path.relative_to(self.folder).parts[:1]:
                    continue
                if copy.path != keep and removed(copy.path):
                    total -= copy.size_bytes

    def _count(self, written_bytes: int, path: Path) -> None:
        with self._lock:
            first = self._written_bytes is None
            self._written_bytes = (self._written_bytes or 0) + written_bytes
            due = first or self._written_bytes > BETWEEN_CLEARINGS * limit_bytes()
            if due:
                self._written_bytes = 0
        if due:
            self.clear(keep=path)

    def _copies(self) -> Iterator[Copy]:
        """All copies that no store holds."""
        for folder, folders, names in os.walk(self.folder):
            if Path(folder) == self.folder:
                folders[:] = [name for name in folders if name != "leases"]
                continue
            for name in names:
                with suppress(OSError):
                    status = os.stat(os.path.join(folder, name))  # noqa: PTH116, PTH118  (of many files)
                    if status.st_nlink == 1 and not name.startswith(files.TEMPORARY):
                        yield Copy(Path(folder, name), status.st_size, status.st_mtime)

    def _oldest_lease_s(self) -> float:
        """When the first of the living processes with a lease took it; those of dead ones are removed."""
        oldest = float("inf")
        for path in (self.folder / "leases").glob("*"):
            with suppress(OSError):
                descriptor = os.open(path, os.O_RDWR)
                try:
                    if held(descriptor, shared=False):
                        path.unlink()
                    else:
                        oldest = min(oldest, os.fstat(descriptor).st_mtime)
                finally:
                    os.close(descriptor)
        return oldest

    def _pin(self, path: Path) -> bool:
        """Hold a shared lock on a copy; False where it went in between."""
        with self._lock:
            if path in self._pins and is_same(self._pins[path], path):
                self._pins.move_to_end(path)
                return True
            try:
                descriptor = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                return False
            held(descriptor, shared=True)
            if not is_same(descriptor, path):
                os.close(descriptor)
                return False
            if path in self._pins:
                os.close(self._pins.pop(path))
            self._pins[path] = descriptor
            if len(self._pins) > PINS:
                os.close(self._pins.popitem(last=False)[1])
            return True


def use(path: Path, size_bytes: int | None) -> bool:
    """Whether there is a copy of this size; notes that it is used."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    if size_bytes not in (None, status.st_size):
        return False
    if abs(time.time() - status.st_mtime) > USED_AGAIN_S:
        with suppress(OSError):
            os.utime(path)
    return True


def removed(path: Path) -> bool:
    """Remove a copy, unless a process holds it."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            if held(descriptor, shared=False):
                path.unlink()
                return True
        finally:
            os.close(descriptor)
    return False


def held(descriptor: int, *, shared: bool) -> bool:
    """Lock an open file as one of many, or alone; False where others hold it, or locks are unknown there."""
    try:
        import fcntl
    except ImportError:  # where an open file can't be removed anyway
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def is_same(descriptor: int, path: Path) -> bool:
    """Whether an open file still has this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
