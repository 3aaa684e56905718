"""Stage `manifest@DATASET`: its items in order, with content hash, label and split."""

from collections import Counter

from tqdm import tqdm

from features import index, manifest, plan, plugins
from features.errors import IceboxError
from features.shard_cache import ShardCache
from pipeline import paths
from pipeline.config import Config, Split


def run(config: Config, key: str) -> None:
    """Write `data/manifests/KEY.csv`."""
    entry = config.datasets[key]
    source = plugins.load("features.datasets", entry.family).Source(**entry.parameters)
    split = entry.split or Split()
    try:
        rows = manifest.build(source, val=split.val, test=split.test, seed=split.seed)
        written = manifest.write(paths.manifest(key), tqdm(rows, desc=f"manifest {key}", unit="item", disable=None))
    except IceboxError as reason:
        raise IceboxError(f"datasets.{key}: {reason}") from reason
    except OSError as reason:
        raise IceboxError(f"datasets.{key}: can't be read: {reason}") from reason
    counts = Counter(row.split for row in written)
    classes = len({row.label for row in written})
    parts = ", ".join(f"{split} {counts[split]:,}" for split in manifest.SPLITS)
    print(f"{key}: {len(written):,} items of {classes} classes ({parts})")
    # DVC is about to delete these stores, since their manifest changed; what they hold must outlive that
    for name, store in config.stores.items():
        if store.dataset == key and paths.store(name).exists():
            adopt(name)


def adopt(store: str) -> None:
    """Keep a store's whole shards, and the precision that `auto` stood for when they were made, perhaps elsewhere."""
    folder = paths.store(store)
    try:
        found = index.read(folder)
    except IceboxError:  # unfinished or damaged: nothing to go on from, and extraction will make it anew
        return
    cache = ShardCache(paths.SHARDS, found.fingerprint)
    with cache.held():
        cache.adopt(folder)
    if plan.recorded(found.spec, paths.PLANS) is None:
        plan.record(found.spec, found.spec["precision"], paths.PLANS)
