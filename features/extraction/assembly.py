"""A finished store: the shards that its items need, linked from the cache, and the index."""

from itertools import chain
from pathlib import Path
from typing import Any

from icebox.features import files
from icebox.features.errors import IceboxError
from icebox.features.extraction.plan import Plan
from icebox.features.store import index, shards
from icebox.features.store.cache import ShardCache


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
    readable = {view: [item for item in items if item.row.item_id not in skipped] for view, items in plan.items.items()}
    rows = [item.row for item in next(iter(readable.values()))]
    if not rows:
        raise IceboxError(f"{store}: none of the {len(skipped)} items could be read")
    store.mkdir(parents=True, exist_ok=True)
    files.sweep(store)
    used = {view: [plan.locations[item.key] for item in of_view] for view, of_view in readable.items()}
    paths = list(dict.fromkeys(location.shard.path for location in chain(*used.values())))
    cache.link_into(store, paths)
    index.write(store, rows=rows, places=used, spec=spec, fingerprint=cache.fingerprint, skipped=skipped, odd=odd)
    delete_unused(store, {path.name for path in paths}, cache, adopted)


def delete_unused(store: Path, used: set[str], cache: ShardCache, adopted: set[str]) -> None:
    """Delete the shards of an older index that the cache has, and set damaged ones aside."""
    for path in shards.paths(store):
        if path.name in used:
            continue
        if path.name in adopted:
            path.unlink()
        elif shards.is_damaged(path):
            shards.set_aside(path, cache.folder)
