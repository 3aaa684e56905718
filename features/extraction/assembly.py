"""A finished store: the shards that its items need, linked from the cache, and the index."""

from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np

from icebox.features import files
from icebox.features.errors import IceboxError
from icebox.features.extraction.plan import Plan
from icebox.features.manifest.manifest import Manifest
from icebox.features.store import index, shards
from icebox.features.store.shard_cache.cache import ShardCache


def assemble(
    store: Path,
    plan: Plan,
    cache: ShardCache,
    spec: dict[str, Any],
    *,
    skipped: dict[str, str],
    odd: dict[str, str],
    adopted: set[str],
) -> None:
    """Link the shards into the store, write its index last, and delete shards that only an older index needed.

    All rows of `plan` are there. `skipped` are the items that can't be read, `odd` those that a decoder complained of,
    {item_id: message}. Of the shards of an older index those go that the shard cache has `adopted`; a damaged one is
    set aside.
    """
    readable = np.arange(len(plan.rows)) if not skipped else readable_items(plan.rows, skipped)
    if not len(readable):
        raise IceboxError(f"{store}: none of the {len(skipped)} items could be read")
    store.mkdir(parents=True, exist_ok=True)
    files.sweep(store)
    rows = plan.rows.take(readable) if skipped else plan.rows
    used = {view: plan.places(view, readable) for view in plan.views}
    numbers = np.unique(np.concatenate([places.shard_of for places in used.values()])).tolist()
    paths = [plan.located.shards[number].path for number in numbers]
    cache.link_into(store, paths)
    index.write(store, rows=rows, places=used, spec=spec, fingerprint=cache.fingerprint, skipped=skipped, odd=odd)
    delete_unused(store, {path.name for path in paths}, cache, adopted)


def readable_items(rows: Manifest, skipped: Container[str]) -> np.ndarray:
    """The positions of the rows whose ids are not among the skipped."""
    return np.flatnonzero([item_id not in skipped for item_id in rows.item_ids.to_pylist()])


def delete_unused(store: Path, used: set[str], cache: ShardCache, adopted: set[str]) -> None:
    """Delete the shards of an older index that the cache has, and set damaged ones aside."""
    for path in shards.paths(store):
        if path.name in used:
            continue
        if path.name in adopted:
            path.unlink()
        elif shards.is_damaged(path):
            shards.set_aside(path, cache.folder)
