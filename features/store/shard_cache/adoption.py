"""Shards of a store that was made elsewhere, taken into the shard cache."""

import logging
from pathlib import Path

from icebox.features.store import shards
from icebox.features.store.shard_cache.cache import ShardCache
from icebox.features.store.shards import DamagedShard, ForbiddenShard

logger = logging.getLogger("icebox")


def adopt(store: Path, root: Path, *, wait: bool = False, together: bool = False) -> set[str]:
    """Link the shards of a store that was made elsewhere into the shard cache below `root` → their names.

    So the store can grow instead of restart after its folder is deleted. A damaged one is told and left out. Raises
    IceboxError for one that can't be read now: the store must not be deleted on the strength of this.
    """
    adopted: set[str] = set()
    caches: dict[str, ShardCache] = {}
    for path in shards.paths(store):
        if any(cache.holds(path) for cache in caches.values()):
            adopted.add(path.name)
            continue
        try:
            shard = shards.read(path)
            cache = caches.setdefault(shard.fingerprint, ShardCache(root, shard.fingerprint))
            cache.checksums.check(path)
        except DamagedShard as damage:
            logger.warning("%s; its rows will be extracted again", damage)
        except ForbiddenShard as reason:
            logger.warning("%s; it is not taken into the shard cache", reason)
        else:
            with cache.locked(wait=wait, together=together):
                cache.take(shard)
            adopted.add(path.name)
    return adopted
