"""Mend a store from its shard cache and the cache from the store; what neither has whole is left to extraction."""

from pathlib import Path

from icebox.features.store import index, shards, verification
from icebox.features.store.cache import ShardCache


def repair(store: Path, cache_root: Path) -> list[str]:
    """Take damaged shards out of the store and out of its shard cache, and put back those that the other has whole.

    Returns the names of the shards that are lost: their rows, and only those, must be extracted again. Raises
    IceboxError where the index is broken: extraction then writes another over the same shards.
    """
    cache = ShardCache(cache_root, index.read(store).fingerprint)
    with cache.held():
        damaged = {found.path.name for found in verification.of_store(store)} - {index.FILE}
        for path in [cache.folder / name for name in damaged] + [
            found.path for found in verification.of_cache(cache.folder, store)
        ]:
            if path.exists() and shards.name_of(path) != path.name:
                path.unlink()
        lost = []
        for name in sorted(damaged):
            if (cache.folder / name).exists():
                cache.link_into(store, [name])
            else:
                (store / name).unlink(missing_ok=True)
                lost.append(name)
        cache.adopt(store)
    return lost
