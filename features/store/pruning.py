"""Remove from the shard cache the shards that no finished store needs."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from icebox.features import files
from icebox.features.store import index
from icebox.features.store.cache import ShardCache


@dataclass(frozen=True)
class Freed:
    """The number of shards removed from one fingerprint's folder, and the bytes of those without another hard link."""

    folder: Path
    shards: int
    freed_bytes: int


def prune(cache_root: Path, stores: Iterable[Path]) -> list[Freed]:
    """Remove every shard that none of these finished stores lists, and the temporary files of killed writers.

    The lock files stay: removing one that another process is about to take would give it to two.
    Raises IceboxError where an index can't be read: its store's shards are then unknown.
    """
    keep = shards_in_use(stores)
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


def shards_in_use(stores: Iterable[Path]) -> set[str]:
    """The names of all shards of these stores."""
    return {entry.name for store in stores for entry in index.read(store).shards}
