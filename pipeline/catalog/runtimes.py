"""The runtime of a store's backbone: the one that its entry names, that it began with, or that a trial finds."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from icebox.features import files
from icebox.features.abc.backbone import TORCH, Backbone
from icebox.features.abc.dataset import Content
from icebox.features.errors import IceboxError, ItemError, located
from icebox.features.extraction import projection, runtime
from icebox.features.extraction.extract import fingerprint_of
from icebox.features.store import index
from icebox.features.store.shard_cache.cache import ShardCache
from icebox.pipeline.config.schema import Config
from icebox.pipeline.project import paths

logger = logging.getLogger("icebox")


def choose(
    config: Config,
    key: str,
    backbone: Backbone,
    *,
    exact: Callable[[], Backbone],
    contents: Callable[[], Sequence[Content]],
    items: int,
    by_trial: bool = True,
) -> None:
    """Let a store's backbone run by the runtime of its entry; `auto` is settled here, and recorded.

    Without `by_trial`, auto is what the store began with, else torch. `exact` loads the backbone in float32; a trial
    passes `contents` in both. Raises IceboxError for a runtime that is not installed, or that this network is not for.
    """
    store = config.stores[key]
    chosen: str | None = store.runtime
    if chosen == "auto":
        chosen = known(config, key, backbone) or (None if by_trial else TORCH)
    if chosen is None:

        def features_in_float32() -> Any:
            return (backbone if backbone.spec["precision"] == "float32" else exact()).encode(prepared)

        prepared = prepare(backbone, contents()) if backbone.runtimes else []
        chosen, reason = runtime.fastest(backbone, prepared, items=items, exact=features_in_float32)
        if reason:
            logger.info("%s: runtime %s (%s)", key, chosen, reason)
            runtime.record(backbone.spec, store.dataset, chosen, paths.PRECISIONS)
    if chosen != TORCH:
        use(backbone, chosen, f"stores.{key}")


def use(backbone: Backbone, name: str, place: str) -> None:
    """Let a backbone run by a runtime. Raises IceboxError, at this place, where that is not to be had."""
    with located(place):
        runtime.refuse_missing(name)
        backbone.use_runtime(name)


def prepare(backbone: Backbone, contents: Sequence[Content]) -> list[Any]:
    """Those of the contents that can be read, prepared: extraction will name the others."""
    prepared = []
    for content in contents:
        try:
            prepared.append(backbone.prepare(content))
        except ItemError:
            continue
    return prepared


def known(config: Config, key: str, backbone: Backbone) -> str | None:
    """The runtime that a store began with; None where it has not begun.

    By a record of this machine, by the store as it is, or by features in the cache, which are then used again.
    """
    store = config.stores[key]
    if recorded := runtime.recorded(backbone.spec, store.dataset, paths.PRECISIONS):
        return recorded
    if files.exists(paths.store(key) / index.FILE):
        try:
            spec = index.read(paths.store(key)).spec
        except IceboxError:  # damaged: its features will be made again
            spec = {}
        if runtime.is_same_network(backbone.spec, spec):
            return runtime.of_spec(spec)
    for spec in runtime.in_every_runtime(backbone.spec):
        if store.pca is None:
            fingerprint = fingerprint_of({**spec, "stored": store.stored})
            begun = ShardCache(paths.shards(), fingerprint).begun()
        else:
            begun = (paths.PROJECTIONS / f"{projection.origin_of(spec, store.pca, store.dataset)}.npz").exists()
        if begun:
            return runtime.of_spec(spec)
    return None
