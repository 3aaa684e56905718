"""Stage `extract@STORE`: one dataset through one backbone, once."""

import time
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

from features import manifest, plan, plugins
from features.errors import IceboxError
from features.extract import extract
from pipeline import backbone, paths
from pipeline.config import Config


def run(config: Config, key: str) -> None:
    """Make `data/stores/KEY/` hold the dataset's features."""
    store = config.stores[key]
    dataset = config.datasets[store.dataset]
    source = plugins.load("features.datasets", dataset.family).Source(**dataset.parameters)
    rows = manifest.read(paths.manifest(store.dataset))
    family = config.backbone(store.backbone).family
    network = backbone.load_for(
        store.backbone,
        family,
        store.extract.outputs,
        precision=store.extract.precision,
        contents=lambda: [source.read(row.source) for row in sample(rows)],
    )
    if network.modality != source.modality:
        raise IceboxError(
            f"stores.{key}: dataset '{store.dataset}' holds {source.modality}s, "
            f"backbone '{store.backbone}' takes {network.modality}s"
        )
    started_s = time.perf_counter()
    try:
        done = extract(
            rows,
            read=source.read,
            backbone=network,
            cache_root=paths.SHARDS,
            store=paths.store(key),
            batch_size=config.extract.batch_size,
            workers=config.extract.workers,
            stored=store.extract.stored,
            compiling=store.extract.compile,
            skip_unreadable=config.extract.on_error == "skip",
            progress=progress(key),
        )
    except IceboxError as reason:
        raise IceboxError(f"stores.{key}: {reason}") from reason
    took_s = time.perf_counter() - started_s
    for item_id, why in done.skipped.items():
        print(f"{key}: skipped '{item_id}': {why}")
    format_ = f"{network.spec['precision']}{', compiled' if done.compiled else ''}, stored as {store.extract.stored}"
    print(
        f"{key}: {done.items:,} items, {done.passed:,} distinct ones passed through {store.backbone} "
        f"in {took_s:.1f} s ({done.passed / took_s:,.0f} items/s); {len(done.skipped)} skipped; {format_}; "
        f"waited for decode {done.seconds.waiting / took_s:.0%}, forward {done.seconds.forward / took_s:.0%}, "
        f"waited for write {done.seconds.writing / took_s:.0%}"
    )


def sample(rows: list[manifest.Row]) -> list[manifest.Row]:
    """A few items to try a network on: at random by their contents' hash, yet the same on every machine."""
    return sorted(rows, key=lambda row: row.item_key)[: plan.ITEMS]


def progress(key: str) -> Callable[[int], Any]:
    """A progress bar in items, on a terminal only."""

    def begin(total: int) -> Any:
        return tqdm(total=total, desc=f"extract {key}", unit="item", disable=None).update

    return begin
