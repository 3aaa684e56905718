"""Stage `manifest@DATASET`: its items in order, with content hash, label and split; and what should make one look."""

import json
from collections import Counter

from tqdm import tqdm

from icebox.features import files
from icebox.features.errors import IceboxError
from icebox.features.extraction import precision_trial
from icebox.features.manifest import manifest
from icebox.features.manifest.leakage import resolve_leakage
from icebox.features.splits import in_order
from icebox.features.store import index
from icebox.features.store.cache import ShardCache
from icebox.pipeline.catalog import datasets
from icebox.pipeline.config.schema import Config, Split
from icebox.pipeline.project import paths


def run(config: Config, key: str) -> None:
    """Write `data/manifests/KEY.csv` and `KEY.findings.json`."""
    entry = config.datasets[key]
    source = datasets.source(config, key)
    split = entry.split or Split()
    try:
        rows = manifest.build(
            source,
            val=split.val,
            test=split.test,
            seed=split.seed,
            stratify=split.stratify,
            task=entry.task,
            progress=lambda items: tqdm(items, desc=f"manifest {key}", unit="item", disable=None),
        )
        rows, found = resolve_leakage(rows, leakage=split.leakage, conflicts=split.conflicts, task=entry.task)
    except IceboxError as error:
        raise error.at(f"datasets.{key}") from error
    except OSError as reason:
        raise IceboxError(f"datasets.{key}: can't be read: {reason}") from reason
    manifest.write(paths.manifest(key), rows)
    findings = json.dumps([finding.as_json() for finding in found], indent=2, ensure_ascii=False)
    files.write_text(paths.findings(key), findings + "\n")
    counts = Counter(row.split for row in rows)
    parts = ", ".join(f"{split} {counts[split]:,}" for split in in_order(counts))
    of = f" of {len({row.label for row in rows})} classes" if entry.task == "classification" else ""
    print(f"{key}: {len(rows):,} items{of} ({parts})")
    for finding in found:
        print(f"{key}: {finding.sentence()}")
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
    with cache.locked():
        cache.adopt(folder)
    if precision_trial.recorded(found.spec, paths.PRECISIONS) is None:
        precision_trial.record(found.spec, found.spec["precision"], paths.PRECISIONS)
