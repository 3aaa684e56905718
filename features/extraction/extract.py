"""Extraction: pass those of a manifest's contents through the backbone that this fingerprint's shard cache lacks."""

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
from icebox.features.extraction import consistency, runtime
from icebox.features.extraction.batch_encoder import BatchEncoder, ReportDone, Timings, unreadable_item
from icebox.features.extraction.compilation import Compile
from icebox.features.extraction.precision import Stored, values_to_storage_dtype
from icebox.features.extraction.views import IDENTITY, ViewItem, refuse_other_modality, shard_parts, view_items
from icebox.features.manifest.manifest import ManifestRow
from icebox.features.manifest.reading import Read
from icebox.features.ragged import Values
from icebox.features.store import index, shards
from icebox.features.store.cache import RowLocation, ShardCache, adopt
from icebox.features.store.shards import SHARD_BYTES, SHARD_ROWS, Shard

STORE_FORMAT = 2
COMPILED_MARKER = "compiled"  # a file in the shard cache


@dataclass(frozen=True)
class ExtractionSummary:
    """Counts and times of a finished extraction."""

    items: int
    distinct: int  # contents, in all views
    passed: int  # distinct contents that went through the backbone in this run
    skipped: dict[str, str]  # item_id → why it could not be read
    truncated: int  # of those passed, how many were longer than the network takes
    odd: dict[str, str]  # item_id → what its decoder complained of, though it was taken
    unknown: int  # of those passed, how many were mostly tokens that the network does not know
    compiled: bool
    timings: Timings


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
    wait: bool = False,
    stored: Stored = "float32",
    compiling: Compile = "off",
    shard_rows: int = SHARD_ROWS,
    progress: Callable[[int], ReportDone] = lambda total: lambda count: None,
) -> ExtractionSummary:
    """Make `store` hold the features of `rows` in each of these views, computing only what the shard cache lacks.

    `read` gives the content behind ManifestRow.source; `progress(total)` returns a function that is called with each
    finished count. Shard and batch boundaries come from the manifest alone, so that a resumed run gives the same bytes.
    `compiling` says whether to compile the network; `auto` compiles where that pays for what is left.
    `wait` for another process that works on the same features, instead of refusing to.
    `stored` is the number format on disk; a shard with values too large or small for float16 is float32 all the same.
    Raises IceboxError on an unreadable item (unless `skip_unreadable`), a content that is not the manifest's, or a
    non-finite feature; finished shards stay, and the next run goes on from them.
    """
    refuse_other_modality(views, backbone.modality, backbone.spec["family"])
    spec = {**backbone.spec, "stored": stored}
    cache = ShardCache(cache_root, fingerprint_of(spec))
    adopted = adopt(store, cache_root, wait=wait)
    with cache.locked(wait=wait):
        items = view_items(rows, views, read)
        distinct: dict[str, ViewItem] = {}
        for item in chain(*items.values()):
            distinct.setdefault(item.key, item)
        locations = cache.places(distinct)
        reused = [(item, locations[key]) for key, item in distinct.items() if key in locations]
        consistency.check_stored_features(reused, read, backbone)
        missing = [item for key, item in distinct.items() if key not in locations]
        report_done = progress(len(missing))
        with ThreadPoolExecutor(workers) as pool:
            encoder = BatchEncoder(read, backbone, pool, batch_size, skip_unreadable)
            size = min(shard_rows, encoder.rows_within(SHARD_BYTES, missing, list(distinct.values())))
            encoder.batch_size = min(batch_size, size)  # of large maps: what is timed, and compiled for, must fit
            if runtime.of_spec(backbone.spec) == "inductor":
                compiled = encoder.compile_or_fail(missing)
            else:
                was_compiled = (cache.folder / COMPILED_MARKER).exists()
                compiled = encoder.compile_if_faster(missing, wanted=compiling, was_compiled=was_compiled)
            if compiled:
                files.write_text(cache.folder / COMPILED_MARKER, "features here are a compiled network's\n")
            parts = shard_parts(missing, size)
            for shard in write_behind(parts, encoder, cache, stored=stored, report_done=report_done):
                locations |= {key: RowLocation(shard, row) for row, key in enumerate(shard.item_keys)}
        skipped = messages_of(chain(*items.values()), locations, lambda shard: shard.errors)
        if skipped and not skip_unreadable:
            item_id, reason = next(iter(skipped.items()))
            raise unreadable_item(item_id, reason)
        odd = messages_of(chain(*items.values()), locations, lambda shard: shard.remarks)
        assemble_store(store, items, locations, cache, spec, skipped, odd, adopted)
    return ExtractionSummary(
        items=len(rows),
        distinct=len(distinct),
        passed=len(missing),
        skipped=skipped,
        truncated=encoder.truncated,
        odd=odd,
        unknown=encoder.unknown,
        compiled=compiled,
        timings=encoder.timings,
    )


def write_behind(
    parts: Iterable[Sequence[ViewItem]],
    encoder: BatchEncoder,
    cache: ShardCache,
    *,
    stored: Stored,
    report_done: ReportDone,
) -> Iterator[Shard]:
    """Encode each part and write it as a shard while the network is at the next part; yields the written shards."""

    def write(items: Sequence[ViewItem], features: dict[str, Values], errors: dict[int, str]) -> Shard:
        arrays = {output: values_to_storage_dtype(values, stored) for output, values in features.items()}
        keys = [item.key for item in items]
        odd = {row: encoder.odd[item.key] for row, item in enumerate(items) if item.key in encoder.odd}
        return cache.write(item_keys=keys, features=arrays, errors=errors, remarks=odd)

    with ThreadPoolExecutor(1) as writer:
        pending: Future[Shard] | None = None
        for items in parts:
            features, errors = encoder.encode_shard(items, report_done)
            began = time.perf_counter()
            if pending:
                yield pending.result()
            encoder.timings.writing += time.perf_counter() - began
            pending = writer.submit(write, items, features, errors)
        if pending:
            began = time.perf_counter()
            yield pending.result()
            encoder.timings.writing += time.perf_counter() - began


def fingerprint_of(spec: dict[str, Any]) -> str:
    """sha256 of all that determines features and how they are stored: a backbone's spec and `stored`."""
    return fingerprint.of_settings({**spec, "store_format": STORE_FORMAT})


def assemble_store(
    store: Path,
    items: Mapping[str, Sequence[ViewItem]],
    locations: Mapping[str, RowLocation],
    cache: ShardCache,
    spec: dict[str, Any],
    skipped: dict[str, str],
    odd: dict[str, str],
    adopted: set[str],
) -> None:
    """Link the shards into the store, write its index last, and delete shards that only an older index needed.


    `items` are those of each view, `locations` the stored row of each key, `skipped` the items that can't be read,
    `odd` those that a decoder complained of. Of the shards of an older index those go that the shard cache has
    `adopted`; a damaged one is set aside.
    """
    readable = {view: [item for item in of_view if item.row.item_id not in skipped] for view, of_view in items.items()}
    rows = [item.row for item in next(iter(readable.values()))]
    if not rows:
        raise IceboxError(f"{store}: none of the {len(skipped)} items could be read")
    store.mkdir(parents=True, exist_ok=True)
    files.sweep(store)
    used = {view: [locations[item.key] for item in of_view] for view, of_view in readable.items()}
    paths = list(dict.fromkeys(location.shard.path for location in chain(*used.values())))
    cache.link_into(store, paths)
    index.write(store, rows=rows, places=used, spec=spec, fingerprint=cache.fingerprint, skipped=skipped, odd=odd)
    names = {path.name for path in paths}
    for path in shards.paths(store):
        if path.name in names:
            continue
        if path.name in adopted:
            path.unlink()
        elif shards.is_damaged(path):
            shards.set_aside(path, cache.folder)


def messages_of(
    items: Iterable[ViewItem], locations: Mapping[str, RowLocation], of_shard: Callable[[Shard], dict[int, str]]
) -> dict[str, str]:
    """{item_id: message} of the items with a view whose stored row has one in `of_shard(its shard)`."""
    return {
        item.row.item_id: messages[location.row]
        for item in items
        if (location := locations[item.key]).row in (messages := of_shard(location.shard))
    }
