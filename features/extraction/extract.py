"""Extraction: pass those of a manifest's contents through the backbone that this fingerprint's shard cache lacks."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icebox.features import files, fingerprint
from icebox.features.abc.backbone import Backbone
from icebox.features.extraction import assembly, plan, runtime
from icebox.features.extraction.batch_encoder import BatchEncoder, ReportDone, Tally, Timings, unreadable_item
from icebox.features.extraction.compilation import Compile
from icebox.features.extraction.precision import Stored
from icebox.features.extraction.shard_work import Engine, Local, ShardSettings, Work
from icebox.features.extraction.views import IDENTITY, ViewItem, number_of_part, refuse_other_modality
from icebox.features.manifest.manifest import ManifestRow
from icebox.features.manifest.reading import Read
from icebox.features.store.shard_cache.adoption import adopt
from icebox.features.store.shard_cache.cache import COMPILED_MARKER, COMPILED_TEXT, ShardCache
from icebox.features.store.shards import SHARD_BYTES, SHARD_ROWS

STORE_FORMAT = 2
LOCAL = Local()


@dataclass(frozen=True)
class ExtractionSummary:
    """Counts and times of a finished extraction."""

    items: int
    distinct: int  # contents, in all views
    passed: int  # distinct contents that went through the backbone in this run
    shards: int  # that were made of them
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
    engine: Engine = LOCAL,
    part: tuple[int, int] | None = None,
    progress: Callable[[int], ReportDone] = lambda total: lambda count: None,
) -> ExtractionSummary:
    """Make `store` hold the features of `rows` in each of these views, computing only what the shard cache lacks.

    `read` gives the content behind ManifestRow.source; `progress(total)` returns a function that is called with each
    finished count. Shard and batch boundaries come from the manifest alone, so that a resumed run gives the same bytes.
    `compiling` says whether to compile the network; `auto` compiles where that pays for what is left.
    `wait` for another process that works on the same features, instead of refusing to.
    `engine` is where shards are made. `part`, (3, 16), is the third of 16: only its shards are made, beside other
    parts, and no store; once all are there, an extraction without `part` only has to write the index. `auto` never
    compiles in a part, since none knows of the others.
    `stored` is the number format on disk; a shard with values too large or small for float16 is float32 all the same.
    Raises IceboxError on an unreadable item (unless `skip_unreadable`), a content that is not the manifest's, or a
    non-finite feature; finished shards stay, and the next run goes on from them.
    """
    refuse_other_modality(views, backbone.modality, backbone.spec["family"])
    spec = {**backbone.spec, "stored": stored}
    cache = ShardCache(cache_root, fingerprint_of(spec))
    adopted = adopt(store, cache_root, wait=wait, together=part is not None)
    with (
        cache.locked(wait=wait, together=part is not None),
        ThreadPoolExecutor(workers) as pool,
        backbone.side_by_side() as passes_at_once,
    ):
        planned = plan.make(rows, views, read, backbone, cache)
        missing = planned.missing
        encoder = BatchEncoder(read, backbone, pool, batch_size, skip_unreadable, passes_at_once=passes_at_once)
        size = min(shard_rows, encoder.rows_within(SHARD_BYTES, missing, planned.distinct))
        encoder.batch_size = min(batch_size, size)  # of large maps: what is timed, and compiled for, must fit
        parts = planned.parts(size)
        if part is not None:
            number, of = part
            parts = [items for items in parts if number_of_part(items, of) == number]
        to_pass = planned.joined(parts)
        report_done = progress(len(to_pass))
        if part is not None and compiling == "auto":
            compiling = "off"
        compiled = compile_network(encoder, to_pass, compiling, cache)
        settings = ShardSettings(
            fingerprint=cache.fingerprint,
            cache_root=cache_root,
            stored=stored,
            batch_size=encoder.batch_size,
            threads=workers,
            skip_unreadable=skip_unreadable,
            compiled=compiled,
        )
        tally = Tally()
        for made in engine.shards(parts, Work(settings, encoder, cache), report_done):
            planned.add(made.shard)
            tally.add(made.tally)
        skipped = planned.messages(lambda shard: shard.errors)
        if skipped and not skip_unreadable:
            item_id, reason = next(iter(skipped.items()))
            raise unreadable_item(item_id, reason)
        odd = planned.messages(lambda shard: shard.remarks)
        if part is None:
            assembly.assemble(store, planned, cache, spec, skipped=skipped, odd=odd, adopted=adopted)
        cache.remember(planned.located.shards)
        cache.share()
    return ExtractionSummary(
        items=len(rows),
        distinct=len(planned.distinct),
        passed=len(to_pass),
        shards=len(parts),
        skipped=skipped,
        truncated=tally.truncated,
        odd=odd,
        unknown=tally.unknown,
        compiled=compiled,
        timings=tally.timings,
    )


def compile_network(encoder: BatchEncoder, missing: Sequence[ViewItem], wanted: Compile, cache: ShardCache) -> bool:
    """Compile the encoder's network where that is wanted, or was done for the features that are there.

    Returns whether it is compiled, which the cache then says too.
    """
    if runtime.of_spec(encoder.backbone.spec) == "inductor":
        compiled = encoder.compile_or_fail(missing)
    else:
        was_compiled = (cache.folder / COMPILED_MARKER).exists()
        compiled = encoder.compile_if_faster(missing, wanted=wanted, was_compiled=was_compiled)
    if compiled:
        files.write_text(cache.folder / COMPILED_MARKER, COMPILED_TEXT)
    return compiled


def fingerprint_of(spec: dict[str, Any]) -> str:
    """sha256 of all that determines features and how they are stored: a backbone's spec and `stored`."""
    return fingerprint.of_settings({**spec, "store_format": STORE_FORMAT})
