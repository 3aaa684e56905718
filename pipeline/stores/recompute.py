"""Pass a few items of a store through their backbone again and compare: the canary, on demand."""

from itertools import chain

from icebox.features.errors import IceboxError
from icebox.features.extraction import consistency
from icebox.features.extraction.extract import fingerprint_of
from icebox.features.extraction.views import view_items
from icebox.features.manifest import manifest
from icebox.features.store.cache import RowLocation
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.catalog import backbones, datasets
from icebox.pipeline.config.schema import Config
from icebox.pipeline.project import paths


def check(config: Config, name: str) -> str:
    """Compare, and say how many items were. Raises IceboxError where one differs, or where nothing can be compared."""
    if name not in config.stores:
        raise IceboxError(f"stores.{name}: not in params.yaml, so how to make its features again is unknown")
    store, entry = FeatureStore(paths.store(name)), config.stores[name]
    network = backbones.load(
        entry.backbone,
        config.backbone(entry.backbone).family,
        entry.extract.outputs,
        precision=store.spec.get("precision", "float32"),
        **entry.extract.options,
    )
    if fingerprint_of({**network.spec, "stored": store.spec.get("stored")}) != store.fingerprint:
        raise IceboxError(
            f"stores.{name}: backbone, outputs or code are no longer those of the store; run: dvc repro extract@{name}"
        )
    source = datasets.source(config, entry.dataset)
    places = {
        store.shards[number].item_keys[row]: RowLocation(store.shards[number], row)
        for number, row in zip(store.index.shard_of.ravel().tolist(), store.index.row_of.ravel().tolist(), strict=True)
    }
    units = chain(*view_items(manifest.read(paths.manifest(entry.dataset)), store.views, source.read).values())
    known = {unit.key: unit for unit in units if unit.key in places}
    if not known:
        raise IceboxError(f"stores.{name}: none of its contents is in {paths.manifest(entry.dataset)}; run: dvc repro")
    consistency.check_stored_features([(unit, places[key]) for key, unit in known.items()], source.read, network)
    return f", and {min(consistency.CHECKED_ROWS, len(known))} items gave the same features again"
