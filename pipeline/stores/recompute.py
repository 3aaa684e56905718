"""Recompute the features of a few items of a finished store and compare: the check of extraction, on demand."""

from icebox.features.errors import IceboxError
from icebox.features.extraction import consistency, plan, projection, runtime
from icebox.features.extraction.extract import fingerprint_of
from icebox.features.extraction.projection import ProjectedBackbone
from icebox.features.manifest import manifest
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.catalog import backbones, datasets, quantized, runtimes
from icebox.pipeline.config.schema import Config
from icebox.pipeline.project import paths


def check(config: Config, name: str) -> int:
    """Recompute and compare → the number of items. Raises IceboxError where one differs or none can be compared."""
    if name not in config.stores:
        raise IceboxError(f"stores.{name}: not in params.yaml, so how to make its features again is unknown")
    store, entry = FeatureStore(paths.store(name)), config.stores[name]
    backbone = backbones.load(
        entry.backbone,
        config.backbone(entry.backbone).family,
        entry.outputs,
        precision=store.spec.get("precision", "float32"),
        **entry.options,
    )
    quantized.use(backbone, name, store.spec)
    runtimes.use(backbone, runtime.of_spec(store.spec), f"stores.{name}")
    if entry.pca is not None:
        backbone = ProjectedBackbone(backbone, projection.read(store.folder / projection.FILE))
    if fingerprint_of({**backbone.spec, "stored": store.spec.get("stored")}) != store.fingerprint:
        raise IceboxError(
            f"stores.{name}: backbone, outputs or code are no longer those of the store; run: dvc repro extract@{name}"
        )
    source = datasets.source(config, entry.dataset)
    planned = plan.of(manifest.read(paths.manifest(entry.dataset)), store.views, source.read)
    for shard in store.shards:
        planned.add(shard)
    stored = planned.stored(consistency.CHECKED_ROWS)
    if not stored:
        raise IceboxError(f"stores.{name}: none of its contents is in {paths.manifest(entry.dataset)}; run: dvc repro")
    consistency.check_stored_features(stored, source.read, backbone)
    return len(stored)
