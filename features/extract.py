"""The one pass: every content of a manifest that was never seen under this fingerprint goes through the backbone."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features import atomic, canary, fingerprint, index, shard
from features.backbones.base import Backbone
from features.errors import IceboxError
from features.manifest import Row
from features.one_pass import Done, Pass, Read, unreadable_item
from features.shard_cache import Place, ShardCache

STORE_FORMAT = 1
SHARD_ROWS = 1024  # at most: what a kill can cost
SHARD_BYTES = 32 << 20


@dataclass(frozen=True)
class Extracted:
    """What an extraction did, in items."""

    items: int
    passed: int  # distinct contents that went through the backbone now
    skipped: dict[str, str]  # item_id → why it could not be read


def extract(
    rows: Sequence[Row],
    *,
    read: Read,
    backbone: Backbone,
    cache_root: Path,
    store: Path,
    batch_size: int = 64,
    workers: int = 2,
    skip_unreadable: bool = False,
    shard_rows: int = SHARD_ROWS,
    progress: Callable[[int], Done] = lambda total: lambda count: None,
) -> Extracted:
    """Make `store` hold the features of `rows`, computing only contents that the shard cache lacks.

    `read` gives the content behind Row.source; `progress(total)` returns what is called with each finished count.
    Shard and batch boundaries come from the manifest alone, so that a resumed run gives the same bytes.
    Raises IceboxError on an unreadable item (unless `skip_unreadable`), a content that is not the manifest's, or a
    non-finite feature; finished shards stay, and the next run goes on from them.
    """
    identity = fingerprint_of(backbone)
    cache = ShardCache(cache_root, identity)
    with cache.held():
        if store.exists():
            cache.adopt(store)
        places = cache.places()
        distinct = {row.item_key: row for row in rows}
        canary.check([(row, places[key]) for key, row in distinct.items() if key in places], read, backbone)
        missing = [row for key, row in distinct.items() if key not in places]
        done = progress(len(missing))
        with ThreadPoolExecutor(workers) as pool:
            work = Pass(read, backbone, pool, batch_size, skip_unreadable)
            size = min(shard_rows, work.rows_within(SHARD_BYTES, missing))
            for start in range(0, len(missing), size):
                part = missing[start : start + size]
                features, errors = work.run(part, done)
                keys = [row.item_key for row in part]
                path = shard.write(cache.folder, of=identity, item_keys=keys, features=features, errors=errors)
                written = shard.read(path)
                places |= {key: Place(written, number) for number, key in enumerate(keys)}
        skipped = unreadable(rows, places)
        if skipped and not skip_unreadable:
            item_id, reason = next(iter(skipped.items()))
            raise unreadable_item(item_id, reason)
        finish(store, [row for row in rows if row.item_id not in skipped], places, cache, backbone.spec, skipped)
    return Extracted(items=len(rows), passed=len(missing), skipped=skipped)


def fingerprint_of(backbone: Backbone) -> str:
    """sha256 of all that determines this backbone's features and how they are stored."""
    return fingerprint.of_settings({**backbone.spec, "store_format": STORE_FORMAT})


def finish(
    store: Path,
    rows: Sequence[Row],
    places: dict[str, Place],
    cache: ShardCache,
    spec: dict[str, Any],
    skipped: dict[str, str],
) -> None:
    """Link the shards into the store, write its index last, and drop what an older index needed."""
    if not rows:
        raise IceboxError(f"{store}: none of the {len(skipped)} items could be read")
    store.mkdir(parents=True, exist_ok=True)
    atomic.sweep(store)
    used = [places[row.item_key] for row in rows]
    names = list(dict.fromkeys(place.shard.path.name for place in used))
    cache.link_into(store, names)
    index.write(store, rows=rows, places=used, spec=spec, fingerprint=cache.fingerprint, skipped=skipped)
    for path in store.glob("shard-*.h5"):
        if path.name not in names:
            path.unlink()


def unreadable(rows: Sequence[Row], places: dict[str, Place]) -> dict[str, str]:
    """{item_id: why} of the items whose content is stored as one that can't be read."""
    return {
        row.item_id: places[row.item_key].shard.errors[places[row.item_key].row]
        for row in rows
        if places[row.item_key].row in places[row.item_key].shard.errors
    }
