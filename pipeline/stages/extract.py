"""Stage `extract@STORE`: one dataset through one backbone, once."""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from icebox.features.abc.backbone import TORCH
from icebox.features.abc.dataset import DenseDataset
from icebox.features.errors import located
from icebox.features.extraction import consistency, summary
from icebox.features.extraction.extract import extract
from icebox.features.extraction.targets import write_targets
from icebox.features.manifest import manifest
from icebox.pipeline.catalog import backbones, datasets, engines
from icebox.pipeline.config.schema import Config
from icebox.pipeline.project import paths, progress

logger = logging.getLogger("icebox")


def run(config: Config, key: str, *, part: tuple[int, int] | None = None) -> None:
    """Make `data/stores/KEY/` hold the dataset's features; with `part`, make that part's shards in the cache only."""
    store = config.stores[key]
    source = datasets.source(config, store.dataset)
    rows = manifest.read(paths.manifest(store.dataset))
    backbone = backbones.load_for_store(config, key, source, rows, in_parts=part is not None)
    views = store.expanded_views
    started_s = time.perf_counter()
    with located(f"stores.{key}"), ExitStack() as stack:

        def begin(total: int) -> Callable[[int], Any]:
            """A bar that counts items → the function that advances it."""
            bar = stack.enter_context(progress.bar(total=total, desc=f"extract {key}", unit="item"))
            advance: Callable[[int], Any] = bar.update
            return advance

        if isinstance(source, DenseDataset) and part is None:
            write_targets(paths.store(key), rows, source)
        extracted = extract(
            rows,
            read=source.read,
            backbone=backbone,
            cache_root=paths.shards(),
            store=paths.store(key),
            views=views,
            batch_size=config.run.batch_size,
            workers=config.run.workers,
            stored=store.stored,
            compiling="off" if store.runtime == TORCH else store.compile,
            wait=paths.shared_cache() is not None,
            skip_unreadable=config.datasets[store.dataset].on_error == "skip",
            engine=engines.engine(config, key, backbone),
            part=part,
            progress=begin,
        )
    *notes, last = summary.lines(
        extracted,
        backbone,
        name=store.backbone,
        views=len(views),
        siamese=store.pairs == "siamese",
        stored=store.stored,
        seconds=time.perf_counter() - started_s,
    )
    if store.decode == "draft" and part is None:
        sample = backbones.sample_contents(rows, source, views[0])[: consistency.DRAFT_ITEMS]
        shift = backbones.draft_shift(config, key, backbone, sample)
        last += f"; decode: draft moves features by {shift:.2%} ({len(sample)} items tried)"
    if part is not None:
        last = f"part {part[0]} of {part[1]}, {extracted.shards} shards; {last}"
    for item_id, reason in extracted.skipped.items():
        logger.warning("%s: skipped '%s': %s", key, item_id, reason)
    for item_id, complaint in extracted.odd.items():
        logger.warning("%s: '%s': %s", key, item_id, complaint)
    for line in (*notes, last):
        logger.info("%s: %s", key, line)
    if part is not None:
        logger.info("%s: no index is written; when all parts are done, run: icebox extract %s", key, key)
