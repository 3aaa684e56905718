"""The provenance of a store's features: the entries of params.yaml behind them, and what the store's index records."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from icebox.features.errors import IceboxError
from icebox.features.joining.joined_store import open_store
from icebox.pipeline.config.schema import Config
from icebox.pipeline.data import feature_selection
from icebox.pipeline.project import hints, paths


@dataclass(frozen=True)
class Provenance:
    """The entries of params.yaml behind a store as YAML text by key, and what the store's index records.

    Where the store is not on this machine, `absent` says why and the fingerprint is empty.
    """

    params: dict[str, str]
    labels_per_class: str
    outputs: list[str]  # of which heads take the concatenation
    width: int = 0  # d, of that concatenation
    fingerprint: str = ""
    spec: str = ""
    skipped: dict[str, str] | None = None
    odd: dict[str, str] | None = None
    absent: str = ""


def collect(config: Config, name: str) -> Provenance:
    """Look a store up in params.yaml and, where it is here, in its index."""
    params = params_of(config, name)
    seen = config.every_input()[name]
    labels = str(config.fit_options(name).labels_per_class)
    outputs = (config.stores[name].outputs or []) if name in config.stores else []
    try:
        features = open_store(paths.store(name))
    except IceboxError as error:
        return Provenance(params, labels, outputs, absent=hints.with_hint(error))
    selection = feature_selection.select(features, outputs=seen.outputs, views=seen.expanded_views)
    return Provenance(
        params,
        labels,
        list(selection.outputs),
        width=selection.load(features, np.arange(1), every_view=False).shape[1],
        fingerprint=features.fingerprint,
        spec=json.dumps(features.spec, indent=2, ensure_ascii=False, default=str),
        skipped=features.skipped,
        odd=features.odd,
    )


def params_of(config: Config, name: str) -> dict[str, str]:
    """The entries of params.yaml behind a store, or behind all members of a joined one."""
    params = {}
    if name in config.joined:
        params[f"joined.{name}"] = to_flow_yaml(config.joined[name].model_dump(exclude_none=True))
    for member in config.members(name):
        store = config.stores[member]
        backbone = config.backbone(store.backbone)
        kind = "backbones" if store.backbone in config.backbones else "pretrain"
        dataset = config.datasets[store.dataset]
        split = {"split": dataset.split.model_dump()} if dataset.split else {}
        params |= {
            f"stores.{member}": to_flow_yaml(store.model_dump(exclude_none=True)),
            f"datasets.{store.dataset}": to_flow_yaml({"source": dataset.family, **dataset.parameters, **split}),
            f"{kind}.{store.backbone}": to_flow_yaml({"family": backbone.family, **backbone.parameters}),
        }
    return params


def to_flow_yaml(value: object) -> str:
    """A value in YAML's flow style; of an absolute path only the last part, since the rest belongs to a machine."""
    match value:
        case Mapping():
            return "{" + ", ".join(f"{key}: {to_flow_yaml(inner)}" for key, inner in value.items()) + "}"
        case list():
            return "[" + ", ".join(to_flow_yaml(inner) for inner in value) + "]"
        case str() if Path(value).is_absolute():
            return f"…/{Path(value).name}"
        case bool():
            return str(value).lower()
        case None:
            return "null"
    return str(value)
