"""Load a backbone that `fetch`, `pretrain` or `unfreeze` left in `data/backbones/`, by name or for a store."""

import logging
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from icebox.features import plugins
from icebox.features.abc.backbone import SETTINGS_FILE, Backbone, TextTower, damage_explained
from icebox.features.abc.dataset import Content, Dataset
from icebox.features.abc.quantized_network import INT8
from icebox.features.errors import IceboxError, NotApplicable, located
from icebox.features.extraction import consistency, projection, runtime
from icebox.features.extraction.precision import TRIAL_ITEMS, Precision, resolve_auto_precision, resolve_for_device
from icebox.features.extraction.projection import Basis, ProjectedBackbone
from icebox.features.extraction.views import text_of
from icebox.features.manifest.manifest import ManifestRow
from icebox.features.text.pairs import TEXTS
from icebox.pipeline.catalog import quantized, runtimes
from icebox.pipeline.config import plugin_schema
from icebox.pipeline.config.schema import Config
from icebox.pipeline.project import paths
from icebox.pipeline.project.backbone_names import FAMILIES

logger = logging.getLogger("icebox")


def load(name: str, family: str, outputs: list[str] | None, *, precision: str, **options: Any) -> Backbone:
    """The frozen backbone called `name` with the given outputs, or else its family's default ones."""
    folder = paths.backbone(name)
    if not (folder / SETTINGS_FILE).exists():
        raise IceboxError(f"{folder}: no backbone here; run: dvc repro, or dvc pull {folder}")
    with located(f"backbone '{name}'"):
        return load_from(folder, family, outputs, precision=precision, **options)


def load_from(
    folder: Path,
    family: str,
    outputs: Sequence[str] | None,
    *,
    precision: str,
    device_name: str | None = None,
    **options: Any,
) -> Backbone:
    """The frozen backbone in `folder`, on the device of that name, by default the run's (`features/nn/devices.py`).

    For int8 in float32 as yet, which `use_quantized` of it changes. `options` are further keywords of the family's
    `load`: `size`, `decode`.
    """
    module = plugins.load(FAMILIES, family)
    logger.debug("%s: family %s, on %s, in %s", folder, family, device(device_name), precision)
    with damage_explained(folder):
        loaded: Backbone = module.load(
            folder,
            outputs=outputs or list(module.DEFAULT_OUTPUTS),
            device=device(device_name),
            precision="float32" if precision == INT8 else precision,
            **options,
        )
    return loaded


def load_in_precision(
    family: str,
    precision: Precision,
    load_in: Callable[[str], Backbone],
    contents: Callable[[], Sequence[Content]],
    records: Path,
    *,
    device_name: str | None = None,
) -> tuple[Backbone, str]:
    """The backbone that `load_in` gives in a precision, and why in this one, where `auto` had a choice (else "").

    The choice is made on `contents`, once, and recorded in the folder `records`.
    """
    plugins.load(FAMILIES, family)  # so that device() knows whether it is a network
    resolved = resolve_for_device(precision, device(device_name)) if "torch" in sys.modules else "float32"
    if precision == "auto" and resolved != "float32":
        return resolve_auto_precision(resolved, load_in, contents, records)
    return load_in(resolved), ""


def load_for_store(
    config: Config, key: str, source: Dataset, rows: Sequence[ManifestRow], *, in_parts: bool = False
) -> Backbone:
    """The backbone of a store in the precision and runtime that its entry asks for; `auto` is resolved on a sample of
    `rows`.

    `source` and `rows` are the store's dataset. `in_parts`: other machines choose for themselves at the same time, so
    that no choice may hang on a clock. Raises IceboxError where the backbone can't take its items.
    """
    store = config.stores[key]
    siamese = store.pairs == "siamese"
    if siamese and source.modality != "pair":
        raise IceboxError(
            f"stores.{key}: pairs: siamese needs pairs; dataset '{store.dataset}' holds {source.modality}s"
        )
    family = config.backbone(store.backbone).family

    def load_in(number_format: str) -> Backbone:
        return load(store.backbone, family, store.outputs, precision=number_format, **store.options)

    sample = partial(sample_contents, rows, source, store.expanded_views[0])
    only_float32 = store.runtime == "onnxruntime" and store.precision == "auto"
    in_int8 = store.precision == INT8
    precision: Precision = "float32" if only_float32 or in_int8 else store.precision
    backbone, reason = load_in_precision(family, precision, load_in, sample, paths.PRECISIONS)
    if reason:
        logger.info("%s: %s (%s)", store.backbone, backbone.spec["precision"], reason)
    computed = backbone.spec["precision"]
    if store.precision not in ("auto", computed, INT8):
        logger.warning(
            "stores.%s.precision: %s makes no difference: backbone '%s' (%s) computes in %s, and so are its features; "
            "take the key out",
            key,
            store.precision,
            store.backbone,
            family,
            computed,
        )
    modality = "text" if siamese else source.modality
    if backbone.modality != modality and not (modality == "pair" and backbone.takes_pairs):
        raise IceboxError(
            f"stores.{key}: dataset '{store.dataset}' holds {source.modality}s, "
            f"backbone '{store.backbone}' takes {backbone.modality}s"
            + ("; perhaps with pairs: siamese" if (modality, backbone.modality) == ("pair", "text") else "")
        )
    if in_int8:
        quantized.choose(config, key, backbone, rows, source.read, by_calibration=not in_parts)
    else:
        runtimes.choose(
            config,
            key,
            backbone,
            exact=lambda: load_in("float32"),
            contents=sample,
            items=len(rows) * len(store.expanded_views),
            by_trial=not in_parts,
        )
    if store.pca is None:
        return backbone
    with located(f"stores.{key}", separator="."):
        return ProjectedBackbone(backbone, basis_of(config, key, backbone, source, rows))


def text_tower(config: Config, store: str, outputs: Sequence[str]) -> TextTower:
    """The text tower of a store's backbone, for heads that see these outputs of it.

    Raises NotApplicable where the backbone has none, and where heads see anything else than its `embedding`.
    """
    advice = "leave this head out, or give it `vectors`, a file of class vectors"
    if store in config.joined:
        raise NotApplicable(f"'{store}' is joined of several stores, and class texts lie in the space of one; {advice}")
    name = config.stores[store].backbone
    family, folder = config.backbone(name).family, paths.backbone(name)
    if not plugin_schema.defines(plugins.file(FAMILIES, family), "text_tower"):
        raise NotApplicable(
            f"backbone '{name}' ({family}) has no text tower, by which classes could be named; {advice}"
        )
    if tuple(outputs) != ("embedding",):
        raise NotApplicable(
            f"texts lie in the space of backbone '{name}'s `embedding`, and heads of '{store}' see "
            f"{', '.join(outputs)}; store and select `outputs: [embedding]`, or {advice}"
        )
    if not (folder / SETTINGS_FILE).exists():
        raise IceboxError(
            f"{folder}: no backbone here, whose text tower is needed; run: dvc repro, or dvc pull {folder}"
        )
    module = plugins.load(FAMILIES, family)
    try:
        with damage_explained(folder):
            tower: TextTower = module.text_tower(folder, device=device())
    except IceboxError as reason:
        raise type(reason)(f"{reason}; {advice}") from reason
    return tower


def basis_of(config: Config, key: str, backbone: Backbone, source: Dataset, rows: Sequence[ManifestRow]) -> Basis:
    """The principal components of a store: those that it began with, or else fitted now, and kept."""
    store = config.stores[key]
    assert store.pca is not None
    origin = projection.origin_of(backbone.spec, store.pca, store.dataset)
    own, kept = paths.store(key) / projection.FILE, paths.PROJECTIONS / f"{origin}.npz"
    bases = [basis for path in (own, kept) if path.exists() and (basis := projection.read(path)).origin == origin]
    if not bases:
        view = store.expanded_views[0]
        bases = [projection.fit(backbone, rows, source.read, view, k=store.pca, origin=origin)]
        logger.info("%s: %d principal components of the cells of train, fitted", key, store.pca)
    for path in (own, kept):
        bases[0].write(path)
    return bases[0]


def sample_contents(rows: Sequence[ManifestRow], source: Dataset, view: str) -> list[Content]:
    """A few contents to try a backbone on, chosen by their hashes: at random, yet the same on every machine."""
    sample = sorted(rows, key=lambda row: row.item_key)[:TRIAL_ITEMS]
    contents = [source.read(row.source) for row in sample]
    return [text_of(content, view) for content in contents] if view in TEXTS else contents


def draft_shift(config: Config, key: str, draft: Backbone, contents: Sequence[Content]) -> float:
    """The mean relative distance between a store's features of `contents` with `decode: draft` and with exact decoding.

    `draft` is the store's backbone as it was loaded.
    """
    store = config.stores[key]
    exact = load(
        store.backbone,
        config.backbone(store.backbone).family,
        list(draft.outputs),
        precision=draft.spec["precision"],
        **store.options | {"decode": "exact"},
    )
    quantized.use(exact, key, draft.spec)
    exact.use_runtime(runtime.of_spec(draft.spec))
    if isinstance(draft, ProjectedBackbone):
        exact = ProjectedBackbone(exact, draft.basis)
    return consistency.draft_distance(draft, exact, contents)


def device(name: str | None = None) -> str:
    """Where networks run. A family that has not imported torch has no network, and must not pay for the import."""
    if "torch" not in sys.modules:
        return "cpu"
    from icebox.features.nn import devices

    return devices.default_device() if name is None else devices.resolve(name)
