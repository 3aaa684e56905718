"""The one pass: what was never seen of a manifest's contents under this fingerprint goes through the backbone."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from icebox.features import files, fingerprint
from icebox.features.abc.backbone import Backbone
from icebox.features.errors import IceboxError
from icebox.features.extraction import canary
from icebox.features.extraction.batch_encoder import BatchEncoder, ReportDone, Timings, unreadable_item
from icebox.features.extraction.compilation import Compile
from icebox.features.extraction.precision import Stored, values_to_storage_dtype
from icebox.features.extraction.views import IDENTITY, ViewItem, refuse_other_modality, shard_parts, view_items
from icebox.features.manifest.manifest import ManifestRow
from icebox.features.manifest.reading import Read
from icebox.features.ragged import Values
from icebox.features.store import index, shards
from icebox.features.store.cache import RowLocation, ShardCache
from icebox.features.store.shards import SHARD_BYTES, SHARD_ROWS, Shard

STORE_FORMAT = 2
COMPILED = "compiled"  # a marker in the shard cache


@dataclass(frozen=True)
class ExtractionSummary:
    """What an extraction did, in items."""

    items: int
    distinct: int  # contents, in all views
    passed: int  # of those, what went through the backbone now
    skipped: dict[str, str]  # item_id → why it could not be read
    cut: int  # of those passed now, how many were longer than the network takes
    compiled: bool
    seconds: Timings


def extract(
    rows: Sequence[ManifestRow],
    *,
    read: Read,
    backbone: Backbone,
    cache_root: Path,
    store: Path,
    views: Sequence[str] = (IDENTITY,),
    batch_size: int = 64,
    workers: int = 2,
    skip_unreadable: bool = False,
    stored: Stored = "float32",
    compiling: Compile = "off",
    shard_rows: int = SHARD_ROWS,
    progress: Callable[[int], ReportDone] = lambda total: lambda count: None,
) -> ExtractionSummary:
    """Make `store` hold the features of `rows` in each of these views, computing only what the shard cache lacks.

    `read` gives the content behind Row.source; `progress(total)` returns what is called with each finished count.
    Shard and batch boundaries come from the manifest alone, so that a resumed run gives the same bytes.
    `compiling` says whether to compile the network, and auto whether that pays for what is left.
    `stored` is the number format on disk; a shard with values too large or small for float16 is float32 all the same.
    Raises IceboxError on an unreadable item (unless `skip_unreadable`), a content that is not the manifest's, or a
    non-finite feature; finished shards stay, and the next run goes on from them.
    """
    refuse_other_modality(views, backbone.modality, backbone.spec["family"])
    spec = {**backbone.spec, "stored": stored}
    cache = ShardCache(cache_root, fingerprint_of(spec))
    with cache.locked():
        if store.exists():
            cache.adopt(store)
        places = cache.places()
        units = view_items(rows, views, read)
        distinct: dict[str, ViewItem] = {}
        for unit in chain(*units.values()):
            distinct.setdefault(unit.key, unit)
        canary.check([(unit, places[key]) for key, unit in distinct.items() if key in places], read, backbone)
        missing = [unit for key, unit in distinct.items() if key not in places]
        done = progress(len(missing))
        with ThreadPoolExecutor(workers) as pool:
            work = BatchEncoder(read, backbone, pool, batch_size, skip_unreadable)
            size = min(shard_rows, work.rows_within(SHARD_BYTES, missing, list(distinct.values())))
            compiled = work.compile(missing, wanted=compiling, before=(cache.folder / COMPILED).exists())
            if compiled:
                files.write_text(cache.folder / COMPILED, "features here are a compiled network's\n")
            for written in write_behind(shard_parts(missing, size), work, cache, stored=stored, done=done):
                places |= {key: RowLocation(written, number) for number, key in enumerate(written.item_keys)}
        skipped = unreadable_items(chain(*units.values()), places)
        if skipped and not skip_unreadable:
            item_id, reason = next(iter(skipped.items()))
            raise unreadable_item(item_id, reason)
        assemble_store(store, units, places, cache, spec, skipped)
    return ExtractionSummary(
        items=len(rows),
        distinct=len(distinct),
        passed=len(missing),
        skipped=skipped,
        cut=work.cut,
        compiled=compiled,
        seconds=work.seconds,
    )


def write_behind(
    parts: Iterable[Sequence[ViewItem]], work: BatchEncoder, cache: ShardCache, *, stored: Stored, done: ReportDone
) -> Iterator[Shard]:
    """Pass each part and write it as a shard, while the next one is already in the network."""

    def write(units: Sequence[ViewItem], features: dict[str, Values], errors: dict[int, str]) -> Shard:
        arrays = {output: values_to_storage_dtype(values, stored) for output, values in features.items()}
        keys = [unit.key for unit in units]
        path = shards.write(
            cache.folder, store_fingerprint=cache.fingerprint, item_keys=keys, features=arrays, errors=errors
        )
        return shards.read(path)

    with ThreadPoolExecutor(1) as writer:
        before: Future[Shard] | None = None
        for units in parts:
            features, errors = work.run(units, done)
            began = time.perf_counter()
            if before:
                yield before.result()
            work.seconds.writing += time.perf_counter() - began
            before = writer.submit(write, units, features, errors)
        if before:
            began = time.perf_counter()
            yield before.result()
            work.seconds.writing += time.perf_counter() - began


def fingerprint_of(spec: dict[str, Any]) -> str:
    """sha256 of all that determines features and how they are stored: a backbone's spec and `stored`."""
    return fingerprint.of_settings({**spec, "store_format": STORE_FORMAT})


def assemble_store(
    store: Path,
    units: Mapping[str, Sequence[ViewItem]],
    places: Mapping[str, RowLocation],
    cache: ShardCache,
    spec: dict[str, Any],
    skipped: dict[str, str],
) -> None:
    """Link the shards into the store, write its index last, and drop what an older index needed."""
    readable = {view: [unit for unit in of_view if unit.row.item_id not in skipped] for view, of_view in units.items()}
    rows = [unit.row for unit in next(iter(readable.values()))]
    if not rows:
        raise IceboxError(f"{store}: none of the {len(skipped)} items could be read")
    store.mkdir(parents=True, exist_ok=True)
    files.sweep(store)
    used = {view: [places[unit.key] for unit in of_view] for view, of_view in readable.items()}
    names = list(dict.fromkeys(place.shard.path.name for place in chain(*used.values())))
    cache.link_into(store, names)
    index.write(store, rows=rows, places=used, spec=spec, fingerprint=cache.fingerprint, skipped=skipped)
    for path in store.glob("shard-*.h5"):
        if path.name not in names:
            path.unlink()


def unreadable_items(units: Iterable[ViewItem], places: Mapping[str, RowLocation]) -> dict[str, str]:
    """{item_id: why} of the items of which a view is stored as one that can't be read."""
    return {
        unit.row.item_id: places[unit.key].shard.errors[places[unit.key].row]
        for unit in units
        if places[unit.key].row in places[unit.key].shard.errors
    }
