"""Shards against the sha256 in their names: each file is read whole once on a machine, which a record remembers.

The record, `checked/<hash>.txt` of each fingerprint, lies in `.icebox` of the working folder, else in the user's cache.
A line is a file's name, device, inode, size and time of change: one that is missing, torn or changed in any way fits no
file, and a record that can't be read or written costs another reading of the shards, nothing else.
"""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from icebox.features import fingerprint
from icebox.features.errors import IceboxError
from icebox.features.store import shards

PROJECT = Path(".icebox")
RECORD_BYTES_MAX = 16 << 20  # 140,000 lines; then it begins anew
THREADS = 4  # sha256 runs outside of Python's lock, and one core hashes slower than a good disk reads


class Checksums:
    """The shards of one fingerprint whose bytes were compared with their names on this machine."""

    def __init__(self, store_fingerprint: str) -> None:
        self.record = f"{fingerprint.of_content(store_fingerprint)[:32]}.txt"

    @cached_property
    def _lines(self) -> set[str]:
        with suppress(OSError):
            return set(self._record_path().read_text(encoding="utf-8", errors="replace").splitlines())
        return set()

    def has(self, path: Path) -> bool:
        """Whether a shard is there that was compared with its name, and has not changed since."""
        with suppress(IceboxError):
            return self._line(path) in self._lines
        return False

    def check(self, path: Path) -> None:
        """Compare a shard with its name, unless that was done.

        Raises DamagedShard where they differ, IceboxError where it can't be read now.
        """
        line = self._line(path)
        if line in self._lines:
            return
        shards.check(path)
        if self._line(path) == line:  # it was not replaced while it was read
            self._add([line])

    def check_all(self, paths: Iterable[Path]) -> None:
        """`check` several shards, in threads."""
        unchecked = [path for path in paths if self._line(path) not in self._lines]
        if len(unchecked) < 2:
            for path in unchecked:
                self.check(path)
            return
        with ThreadPoolExecutor(min(THREADS, len(unchecked))) as pool:
            list(pool.map(self.check, unchecked))

    def add(self, path: Path) -> None:
        """Remember a shard as checked: one whose name was taken from its bytes a moment ago."""
        self._add([self._line(path)])

    def _line(self, path: Path) -> str:
        try:
            status = path.stat()
        except OSError as reason:
            raise shards.unreadable(path, reason) from reason
        return f"{path.name} {status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns}"

    def _add(self, lines: list[str]) -> None:
        self._lines.update(lines)
        with suppress(OSError):  # a read-only or full disk: the shards are read once more another time
            path = self._record_path()
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and path.stat().st_size > RECORD_BYTES_MAX:
                path.unlink()
            # one write that begins a line of its own: beside other processes, and after one that was killed
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                os.write(descriptor, "".join(f"\n{line}" for line in lines).encode() + b"\n")
            finally:
                os.close(descriptor)

    def _record_path(self) -> Path:
        return record_folder("checked") / self.record


def record_folder(name: str) -> Path:
    """A folder for records of this machine: in the project, else in the user's cache."""
    if PROJECT.is_dir():
        return PROJECT / name
    import platformdirs

    return platformdirs.user_cache_path("icebox", appauthor=False) / name
