"""The one pass: every content of a manifest that was never seen under this fingerprint goes through the backbone."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from features import atomic, canary, fingerprint, index, shard
from features.backbones.base import Backbone
from features.compiled import Compile
from features.errors import IceboxError
from features.manifest import Row
from features.one_pass import Done, Pass, Read, Seconds, unreadable_item
from features.precision import Stored, as_stored
from features.shard import Shard
from features.shard_cache import Place, ShardCache

STORE_FORMAT = 2
SHARD_ROWS = 1024  # at most: what a kill can cost
SHARD_BYTES = 32 << 20
COMPILED = "compiled"  # a marker in the shard cache


@dataclass(frozen=True)
class Extracted:
    """What an extraction did, in items."""

    items: int
    passed: int  # distinct contents that went through the backbone now
    skipped: dict[str, str]  # item_id → why it could not be read
    compiled: bool
    seconds: Seconds


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
    stored: Stored = "float32",
    compiling: Compile = "off",
    shard_rows: int = SHARD_ROWS,
    progress: Callable[[int], Done] = lambda total: lambda count: None,
) -> Extracted:
    """Make `store` hold the features of `rows`, computing only contents that the shard cache lacks.

    `read` gives the content behind Row.source; `progress(total)` returns what is called with each finished count.
    Shard and batch boundaries come from the manifest alone, so that a resumed run gives the same bytes.
    `compiling` says whether to compile the network, and auto whether that pays for what is left.
    `stored` is the number format on disk; a shard with a value too large for float16 is float32 all the same.
    Raises IceboxError on an unreadable item (unless `skip_unreadable`), a content that is not the manifest's, or a
    non-finite feature; finished shards stay, and the next run goes on from them.
    """
    spec = {**backbone.spec, "stored": stored}
    cache = ShardCache(cache_root, fingerprint_of(spec))
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
            compiled = work.compile(missing, wanted=compiling, before=(cache.folder / COMPILED).exists())
            if compiled:
                atomic.write_text(cache.folder / COMPILED, "features here are a compiled network's\n")
            parts = [missing[start : start + size] for start in range(0, len(missing), size)]
            for written in write_behind(parts, work, cache, stored=stored, done=done):
                places |= {key: Place(written, number) for number, key in enumerate(written.item_keys)}
        skipped = unreadable(rows, places)
        if skipped and not skip_unreadable:
            item_id, reason = next(iter(skipped.items()))
            raise unreadable_item(item_id, reason)
        finish(store, [row for row in rows if row.item_id not in skipped], places, cache, spec, skipped)
    return Extracted(items=len(rows), passed=len(missing), skipped=skipped, compiled=compiled, seconds=work.seconds)


def write_behind(
    parts: Sequence[Sequence[Row]], work: Pass, cache: ShardCache, *, stored: Stored, done: Done
) -> Iterator[Shard]:
    """Pass each part and write it as a shard, while the next one is already in the network."""

    def write(rows: Sequence[Row], features: dict[str, np.ndarray], errors: dict[int, str]) -> Shard:
        arrays = {output: as_stored(values, stored) for output, values in features.items()}
        keys = [row.item_key for row in rows]
        path = shard.write(cache.folder, of=cache.fingerprint, item_keys=keys, features=arrays, errors=errors)
        return shard.read(path)

    with ThreadPoolExecutor(1) as writer:
        before: Future[Shard] | None = None
        for rows in parts:
            features, errors = work.run(rows, done)
            began = time.perf_counter()
            if before:
                yield before.result()
            work.seconds.writing += time.perf_counter() - began
            before = writer.submit(write, rows, features, errors)
        if before:
            began = time.perf_counter()
            yield before.result()
            work.seconds.writing += time.perf_counter() - began


def fingerprint_of(spec: dict[str, Any]) -> str:
    """sha256 of all that determines features and how they are stored: a backbone's spec and `stored`."""
    return fingerprint.of_settings({**spec, "store_format": STORE_FORMAT})


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
