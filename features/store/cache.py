"""The shard cache, `.icebox/shards/<fingerprint>/`: every row ever computed under one fingerprint, for all stores.

Extraction resumes from it. A store is made of hard links to its shards, so that it outlives the store's folder.
"""

import os
import shutil
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from icebox.features import files
from icebox.features.errors import IceboxError
from icebox.features.store import shards as shard
from icebox.features.store.shards import Shard


@dataclass(frozen=True)
class Place:
    """Where a content's row lies."""

    shard: Shard
    row: int


class ShardCache:
    """The shards of one fingerprint in one folder."""

    def __init__(self, root: Path, fingerprint: str) -> None:
        self.folder = root / fingerprint
        self.fingerprint = fingerprint

    def held(self) -> AbstractContextManager[None]:
        """The lock that a writer must hold."""
        return files.locked(self.folder / "lock")

    def places(self) -> dict[str, Place]:
        """{item_key: place} of every row. A damaged shard is removed, saying so; its rows will be computed again.

        Only for the holder of the lock.
        """
        files.sweep(self.folder)
        found: dict[str, Place] = {}
        for path in sorted(self.folder.glob("shard-*.h5")):
            try:
                part = shard.read(path)
            except IceboxError as damage:
                print(f"{damage}; its rows will be extracted again", file=sys.stderr)
                path.unlink()
                continue
            for row, item_key in enumerate(part.item_keys):
                found.setdefault(item_key, Place(part, row))
        return found

    def adopt(self, store: Path) -> None:
        """Take over the shards of a store that was pulled, not made here, so that it can grow instead of restart."""
        for path in store.glob("shard-*.h5"):
            target = self.folder / path.name
            if not target.exists() and self.holds(path):
                link(path, target)

    def holds(self, path: Path) -> bool:
        """Whether a shard from elsewhere is whole and of this fingerprint."""
        try:
            return shard.read(path).fingerprint == self.fingerprint and shard.name_of(path) == path.name
        except IceboxError:
            return False

    def link_into(self, store: Path, names: Iterable[str]) -> None:
        """Put the named shards into a store's folder."""
        for name in names:
            link(self.folder / name, store / name)


def link(source: Path, target: Path) -> None:
    """Hard-link, or copy where the file system can't. Atomic, and never through an existing file.

    Shards are immutable and read-only, so two names for one file can't surprise anyone.
    """
    with files.temporary_in(target.parent) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
            temporary.chmod(0o444)
        files.publish(temporary, target)
