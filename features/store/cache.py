"""The shard cache, a folder per fingerprint: every row ever computed under that fingerprint, for all stores.

Extraction resumes from it. A store is made of hard links to its shards, so that it outlives the store's folder.
"""

import logging
import os
import shutil
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from icebox.features import files
from icebox.features.errors import IceboxError
from icebox.features.store import shards
from icebox.features.store.shards import Shard

logger = logging.getLogger("icebox")


@dataclass(frozen=True)
class RowLocation:
    """The location of one content's row."""

    shard: Shard
    row: int


class ShardCache:
    """The shards of one fingerprint in one folder."""

    def __init__(self, root: Path, fingerprint: str) -> None:
        self.folder = root / fingerprint
        self.fingerprint = fingerprint

    def locked(self) -> AbstractContextManager[None]:
        """The lock that a writer must hold. Raises IceboxError where another process holds it."""
        return files.locked(self.folder / "lock")

    def places(self) -> dict[str, RowLocation]:
        """{item_key: place} of every row, for the holder of the lock.

        A damaged shard is removed, with a warning; its rows will be computed again.
        """
        files.sweep(self.folder)
        places: dict[str, RowLocation] = {}
        for path in sorted(self.folder.glob("shard-*.h5")):
            try:
                shard = shards.read(path)
            except IceboxError as damage:
                logger.warning("%s; its rows will be extracted again", damage)
                path.unlink()
                continue
            for row, item_key in enumerate(shard.item_keys):
                places.setdefault(item_key, RowLocation(shard, row))
        return places

    def adopt(self, store: Path) -> None:
        """Link the shards of a store that was made elsewhere into the cache, so that it can grow instead of restart."""
        for path in store.glob("shard-*.h5"):
            target = self.folder / path.name
            if not target.exists() and self.is_whole(path):
                link(path, target)

    def is_whole(self, path: Path) -> bool:
        """Whether a shard from elsewhere is undamaged and of this fingerprint."""
        try:
            return shards.read(path).fingerprint == self.fingerprint and shards.name_of(path) == path.name
        except IceboxError:
            return False

    def link_into(self, store: Path, names: Iterable[str]) -> None:
        """Link the named shards into a store's folder."""
        for name in names:
            link(self.folder / name, store / name)


def link(source: Path, target: Path) -> None:
    """Hard-link a shard, or copy it where the file system can't link. Atomic, and never through an existing file.

    Shards are immutable and read-only, so a file with two names is safe.
    """
    with files.temporary_in(target.parent) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
            temporary.chmod(0o444)
        files.publish(temporary, target)
