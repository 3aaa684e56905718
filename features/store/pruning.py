"""Empty the shard cache of what no finished store needs."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from icebox.features import files
from icebox.features.store import index
from icebox.features.store.cache import ShardCache


@dataclass(frozen=True)
class Freed:
    """What went from one fingerprint's folder: shards, and the bytes of those that had no other name."""

    folder: Path
    shards: int
    freed_bytes: int


def prune(cache_root: Path, stores: Iterable[Path]) -> list[Freed]:
    """Remove every shard that none of these finished stores lists, and what killed writers left.

    The lock files stay: removing one that another process is about to take would give it to two.
    Raises IceboxError where an index can't be read: what its store needs is then unknown.
    """
    keep = needed(stores)
    freed = []
    for folder in sorted(path for path in cache_root.glob("*") if path.is_dir()):
        cache = ShardCache(cache_root, folder.name)
        with cache.locked():
            files.sweep(folder)
            unneeded = [path for path in folder.glob("shard-*.h5") if path.name not in keep]
            freed_bytes = sum(path.stat().st_size for path in unneeded if path.stat().st_nlink == 1)
            for path in unneeded:
                path.unlink()
        if unneeded:
            freed.append(Freed(folder, len(unneeded), freed_bytes))
    return freed


def needed(stores: Iterable[Path]) -> set[str]:
    """The names of all shards that these stores are made of."""
    return {entry.name for store in stores for entry in index.read(store).shards}
