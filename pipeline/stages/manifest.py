"""Stage `manifest@DATASET`: its items in order, with content hash, label and split; and findings to look at."""

import json
import logging
from collections import Counter
from collections.abc import Sequence

from icebox.features import files, fingerprint, label_sets
from icebox.features.abc.account import Remark
from icebox.features.abc.dataset import Dataset, DenseDataset
from icebox.features.abc.quantized_network import INT8
from icebox.features.errors import IceboxError
from icebox.features.extraction import precision, projection, runtime
from icebox.features.json_files import read_json
from icebox.features.manifest import manifest
from icebox.features.manifest.build import build
from icebox.features.manifest.known_contents import KnownContents
from icebox.features.manifest.known_parts import KnownParts
from icebox.features.manifest.leakage import Finding, resolve_leakage
from icebox.features.manifest.manifest import Manifest
from icebox.features.manifest.split_sizes import split_remarks
from icebox.features.manifest.targets import TargetReview
from icebox.features.manifest.validation import Task
from icebox.features.splits import in_order
from icebox.features.store import index
from icebox.features.store.shard_cache.adoption import adopt
from icebox.pipeline.catalog import datasets, quantized
from icebox.pipeline.config import plugin_schema
from icebox.pipeline.config.schema import Config, Split
from icebox.pipeline.project import paths, progress, raw_data

logger = logging.getLogger("icebox")


def run(config: Config, key: str) -> None:
    """Write `data/manifests/KEY.parquet`, `KEY.sample.csv` and `KEY.findings.json`."""
    entry = config.datasets[key]
    source = datasets.source(config, key)
    split = entry.split or Split()
    targets = TargetReview(source) if isinstance(source, DenseDataset) else None
    try:
        rows = build(
            source,
            val=split.val,
            test=split.test,
            seed=split.seed,
            stratify=split.stratify,
            task=entry.task,
            targets=targets,
            skip_unreadable=entry.on_error == "skip",
            known=known_contents(key, source),
            known_parts=known_parts(key, entry.task),
            progress=lambda items: progress.bar(items, desc=f"manifest {key}", unit="item"),
        )
        rows, findings = resolve_leakage(rows, leakage=split.leakage, conflicts=split.conflicts, task=entry.task)
    except IceboxError as error:
        raise error.at(f"datasets.{key}") from error
    except OSError as reason:
        raise IceboxError(f"datasets.{key}: can't be read: {reason}") from reason
    manifest.write(paths.manifest(key), rows)
    manifest.write_sample(paths.manifest_sample(key), rows)
    doubts: list[Finding | Remark] = [*findings, *source.account.remarks(), *split_remarks(rows, entry.task)]
    doubts += targets.remarks(rows) if targets else []
    text = json.dumps([doubt.as_json() for doubt in doubts], indent=2, ensure_ascii=False)
    files.write_text(paths.findings(key), text + "\n")
    counts = rows.split_counts()
    classes = class_names(rows, source, entry.task)
    write_summary(config, key, counts, classes=classes if targets else ())
    splits = ", ".join(f"{name} {counts[name]:,}" for name in in_order(counts))
    of_classes = f" of {len(classes)} classes" if classes else ""
    logger.info("%s: %s items%s (%s)", key, f"{len(rows):,}", of_classes, splits)
    for doubt in doubts:
        logger.warning("%s: %s", key, doubt.sentence())
    # DVC is about to delete these stores, since their manifest changed; what they hold must outlive that
    for name, store in config.stores.items():
        if store.dataset == key and files.exists(paths.store(name)):
            keep_shards(name, dataset=key)


def known_contents(key: str, source: Dataset) -> KnownContents | None:
    """The record of contents that the stage read before, by the same code and settings; None without their stamps.

    The settings are those that the source says determine its contents, else all but those of the split.
    """
    code, settings = paths.code_stamp("datasets", key), paths.settings_stamp("datasets", key)
    if not code.is_file() or not settings.is_file():
        return None
    determining = source.content_settings()
    if determining is None:
        determining = {name: value for name, value in read_json(settings, {}).items() if name != "split"}
    identity = fingerprint.of_settings([code.read_text(encoding="utf-8"), determining])
    return KnownContents(paths.known_contents(key), identity)


def known_parts(key: str, task: Task) -> KnownParts | None:
    """The record of parts that the stage listed before, by the same code of source and stage; None without stamps."""
    stamps = [paths.code_stamp("datasets", key), paths.code_stamp("stages", "manifest")]
    if not all(stamp.is_file() for stamp in stamps):
        return None
    code = [stamp.read_text(encoding="utf-8") for stamp in stamps]
    return KnownParts(paths.known_parts(key), fingerprint.of_settings([*code, task]))


def class_names(rows: Manifest, source: Dataset, task: Task) -> Sequence[str]:
    """The names of the classes; none of a regression."""
    if isinstance(source, DenseDataset):
        return source.classes
    if task == "multilabel":
        return label_sets.names_of(rows.distinct("label"))
    return sorted(rows.distinct("label")) if task == "classification" else ()


def write_summary(config: Config, key: str, counts: Counter[str], *, classes: Sequence[str]) -> None:
    """Write `results/datasets/KEY.json`: numbers of items, and the stamp of the raw files that were read.

    `classes` are the names in the order of their numbers, of masks or boxes.

    `stamp` is the one with which the stage ran; `content` is that of the files as they are now, downloads included,
    and `named` of those that items name, where they are no part of it.
    """
    entry = config.datasets[key]
    places = plugin_schema.dataset_paths(entry.family, entry.parameters)
    named = datasets.files_named_by_items(config, key)
    contents = raw_data.contents_of(places, named, record=paths.raw_record(key))
    stamp = paths.raw_stamp(key)
    summary = {
        "items": counts.total(),
        "splits": {name: counts[name] for name in in_order(counts)},
        **({"classes": list(classes)} if classes else {}),
        **contents,
        "stamp": stamp.read_text(encoding="utf-8").strip() if stamp.exists() else contents["content"],
    }
    files.write_text(paths.dataset_summary(key), json.dumps(summary, indent=2) + "\n")


def keep_shards(store: str, *, dataset: str) -> None:
    """Put a store's whole shards and its principal components into the cache, and record the precision and the runtime
    that `auto` was resolved to for them.

    A store that was pulled from elsewhere has no record on this machine yet. Raises IceboxError where a shard or the
    index can't be read now: DVC would then delete the only copy.
    """
    folder = paths.store(store)
    if (folder / projection.FILE).exists():
        basis = projection.read(folder / projection.FILE)
        basis.write(paths.PROJECTIONS / f"{basis.origin}.npz")
    adopt(folder, paths.shards(), wait=paths.shared_cache() is not None)
    try:
        stored = index.read(folder)
    except IceboxError as error:
        if error.hint is None:
            raise
        return  # unfinished or damaged
    if stored.spec.get("precision") == INT8:
        quantized.keep(store, stored.spec["quantized"])
        return
    if precision.recorded_precision(stored.spec, paths.PRECISIONS) is None:
        precision.record_precision(stored.spec, stored.spec["precision"], paths.PRECISIONS)
    if runtime.recorded(stored.spec, dataset, paths.PRECISIONS) is None:
        runtime.record(stored.spec, dataset, runtime.of_spec(stored.spec), paths.PRECISIONS)
