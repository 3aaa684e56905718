"""How a store's features were made, as far as that is known on this machine."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from icebox.features.errors import IceboxError
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.config.schema import Config
from icebox.pipeline.data import feature_selection
from icebox.pipeline.project import hints, paths


@dataclass(frozen=True)
class Provenance:
    """The entries of params.yaml behind a store, and what the store says of itself.

    Without the store here, `absent` says why and the fingerprint is empty.
    """

    params: dict[str, str]
    labels_per_class: str
    outputs: list[str]  # that heads see
    width: int = 0  # d, of all these side by side
    fingerprint: str = ""
    spec: str = ""
    skipped: dict[str, str] | None = None
    absent: str = ""


def of(config: Config, name: str) -> Provenance:
    """Look a store up in params.yaml and, where it is here, in its index."""
    store = config.stores[name]
    backbone = config.backbone(store.backbone)
    kind = "backbones" if store.backbone in config.backbones else "pretrain"
    dataset = config.datasets[store.dataset]
    split = {"split": dataset.split.model_dump()} if dataset.split else {}
    params = {
        f"stores.{name}": written(store.model_dump(exclude_none=True)),
        f"datasets.{store.dataset}": written({"source": dataset.family, **dataset.parameters, **split}),
        f"{kind}.{store.backbone}": written({"family": backbone.family, **backbone.parameters}),
    }
    labels, outputs = str(store.fit.labels_per_class), store.extract.outputs or []
    try:
        found = FeatureStore(paths.store(name))
    except IceboxError as error:
        return Provenance(params, labels, outputs, absent=hints.with_hint(error))
    selection = feature_selection.select(found, outputs=store.fit.outputs, views=store.fit.expanded_views)
    return Provenance(
        params,
        labels,
        list(selection.outputs),
        width=selection.load(found, np.arange(1), every_view=False).shape[1],
        fingerprint=found.fingerprint,
        spec=json.dumps(found.spec, indent=2, ensure_ascii=False, default=str),
        skipped=found.skipped,
    )


def written(value: object) -> str:
    """A value as YAML's flow style writes it; of an absolute path only the last part, which is no machine's own."""
    match value:
        case Mapping():
            return "{" + ", ".join(f"{key}: {written(inner)}" for key, inner in value.items()) + "}"
        case list():
            return "[" + ", ".join(written(inner) for inner in value) + "]"
        case str() if Path(value).is_absolute():
            return f"…/{Path(value).name}"
        case bool():
            return str(value).lower()
        case None:
            return "null"
    return str(value)
