"""Remove from the shard cache the shards that no finished store needs."""

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from icebox.features import files
from icebox.features.buckets import bucket
from icebox.features.buckets.path import BucketPath
from icebox.features.store import index, shards
from icebox.features.store.shard_cache.cache import ShardCache, on_this_machine

logger = logging.getLogger("icebox")


@dataclass(frozen=True)
class Freed:
    """The number of shards removed from one fingerprint's folder, and the bytes of those without another hard link."""

    folder: Path
    shards: int
    freed_bytes: int


def prune(cache_root: Path, stores: Iterable[Path]) -> list[Freed]:
    """Remove every shard that none of these finished stores lists, and the temporary files of killed writers.

    The lock files stay: removing one that another process is about to take would give it to two. A shard that can't be
    read or removed stays, too, with a warning. Of a bucket, only this machine's own folder is looked at. Raises
    IceboxError where an index can't be read: its store's shards are then unknown.
    """
    keep = shards_in_use(stores)
    freed = []
    cache_root = on_this_machine(cache_root)
    for folder in sorted(path for path in cache_root.glob("*") if path.is_dir()):
        cache = ShardCache(cache_root, folder.name)
        with cache.locked():
            files.sweep(folder)
            sizes = [removed(path) for path in cache.paths() if path.name not in keep]
        freed_bytes = [size for size in sizes if size is not None]
        if freed_bytes:
            freed.append(Freed(folder, len(freed_bytes), sum(freed_bytes)))
    return freed


def prune_bucket(place: BucketPath, stores: Iterable[Path]) -> list[Freed]:
    """Remove from a bucket every shard that none of these finished stores lists.

    Marks stay, and so does whatever else lies there. Raises IceboxError as `prune`, and where the bucket refuses.
    """
    keep = shards_in_use(stores)
    sizes: dict[BucketPath, list[int]] = {}
    for path, entry in place.objects():
        if shards.is_name(path.name) and path.name not in keep:
            bucket.delete(entry.url)
            sizes.setdefault(place / path.relative_to(place).parts[0], []).append(entry.size_bytes)
    return [Freed(folder, len(removed), sum(removed)) for folder, removed in sizes.items()]


def removed(path: Path) -> int | None:
    """Remove a shard → the bytes that this frees: 0 with another hard link; None where it can't be read or removed."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
        path.unlink()
    except OSError as reason:
        logger.warning("%s; it stays", shards.unreadable(path, reason))
        return None
    return status.st_size if status.st_nlink == 1 else 0


def shards_in_use(stores: Iterable[Path]) -> set[str]:
    """The names of all shards of these stores."""
    return {entry.name for store in stores for entry in index.read(store).shards}
