"""Stage `extract@STORE`: one dataset through one backbone, once."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from tqdm import tqdm

from icebox.features.abc.backbone import Backbone
from icebox.features.abc.dataset import Content, Dataset
from icebox.features.errors import IceboxError, located
from icebox.features.extraction import draft_decoding, precision_trial
from icebox.features.extraction.extract import extract
from icebox.features.extraction.views import text_of
from icebox.features.manifest import manifest
from icebox.features.text.pairs import TEXTS
from icebox.pipeline.catalog import backbones, datasets
from icebox.pipeline.config.schema import Config
from icebox.pipeline.project import paths


def run(config: Config, key: str) -> None:
    """Make `data/stores/KEY/` hold the dataset's features."""
    store = config.stores[key]
    source = datasets.source(config, store.dataset)
    rows = manifest.read(paths.manifest(store.dataset))
    if store.extract.pairs == "siamese" and source.modality != "pair":
        raise IceboxError(
            f"stores.{key}: pairs: siamese needs pairs; dataset '{store.dataset}' holds {source.modality}s"
        )
    views = store.extract.expanded_views
    family = config.backbone(store.backbone).family
    network = backbones.load_for(
        store.backbone,
        family,
        store.extract.outputs,
        precision=store.extract.precision,
        contents=lambda: tried(rows, source, views[0]),
        **store.extract.options,
    )
    taken = "text" if store.extract.pairs == "siamese" else source.modality
    if network.modality != taken and not (taken == "pair" and network.takes_pairs):
        raise IceboxError(
            f"stores.{key}: dataset '{store.dataset}' holds {source.modality}s, "
            f"backbone '{store.backbone}' takes {network.modality}s"
            + ("; perhaps with extract: {pairs: siamese}" if (taken, network.modality) == ("pair", "text") else "")
        )
    started_s = time.perf_counter()
    with located(f"stores.{key}"):
        done = extract(
            rows,
            read=source.read,
            backbone=network,
            cache_root=paths.SHARDS,
            store=paths.store(key),
            views=views,
            batch_size=config.extract.batch_size,
            workers=config.extract.workers,
            stored=store.extract.stored,
            compiling=store.extract.compile,
            skip_unreadable=config.extract.on_error == "skip",
            progress=progress(key),
        )
    took_s = time.perf_counter() - started_s
    for item_id, why in done.skipped.items():
        print(f"{key}: skipped '{item_id}': {why}")
    if done.cut:
        print(f"{key}: {done.cut:,} of {done.passed:,} are longer than {store.backbone} takes; the rest was cut off")
    if store.extract.pairs == "siamese":
        texts = len(views) * done.items
        saved = texts - done.distinct
        print(f"{key}: {done.items:,} pairs hold {texts:,} texts, {done.distinct:,} distinct: {saved:,} passes saved")
    format_ = f"{network.spec['precision']}{', compiled' if done.compiled else ''}, stored as {store.extract.stored}"
    print(
        f"{key}: {done.items:,} items{in_views(views)}, {done.passed:,} distinct ones passed through {store.backbone} "
        f"in {took_s:.1f} s ({done.passed / took_s:,.0f} items/s); {len(done.skipped)} skipped; {format_}; "
        f"waited for decode {done.seconds.waiting / took_s:.0%}, forward {done.seconds.forward / took_s:.0%}, "
        f"waited for write {done.seconds.writing / took_s:.0%}"
        f"{drafted(config, key, network, lambda: tried(rows, source, views[0])[: draft_decoding.ITEMS])}"
    )


def tried(rows: list[manifest.Row], source: Dataset, view: str) -> list[Content]:
    """A few contents to try a network on: at random by their hash, yet the same on every machine."""
    sample = sorted(rows, key=lambda row: row.item_key)[: precision_trial.ITEMS]
    contents = [source.read(row.source) for row in sample]
    return [text_of(content, view) for content in contents] if view in TEXTS else contents


def drafted(config: Config, key: str, network: Backbone, contents: Callable[[], Sequence[Content]]) -> str:
    """How far `decode: draft` moves features, where it is asked for."""
    store = config.stores[key]
    if store.extract.decode != "draft":
        return ""
    options = store.extract.options | {"decode": "exact"}
    family, precision = config.backbone(store.backbone).family, network.spec["precision"]
    exact = backbones.load(store.backbone, family, list(network.outputs), precision=precision, **options)
    tried = contents()
    moved = draft_decoding.moved(network, exact, tried)
    return f"; decode: draft moves features by {moved:.2%} ({len(tried)} items tried)"


def in_views(views: Sequence[str]) -> str:
    """` in 6 views`, where there are several."""
    return f" in {len(views)} views" if len(views) > 1 else ""


def progress(key: str) -> Callable[[int], Any]:
    """A progress bar in items, on a terminal only."""

    def begin(total: int) -> Any:
        return tqdm(total=total, desc=f"extract {key}", unit="item", disable=None).update

    return begin
