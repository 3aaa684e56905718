"""The int8 network of a store: that which it began with, or one that is calibrated now, and kept."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from icebox.features import files
from icebox.features.abc import quantized_network
from icebox.features.abc.backbone import Backbone
from icebox.features.abc.quantized_network import FILE, INT8, QuantizedNetwork
from icebox.features.errors import IceboxError, located
from icebox.features.extraction import quantization, runtime
from icebox.features.manifest.manifest import ManifestRow
from icebox.features.manifest.reading import Read
from icebox.features.store import index
from icebox.pipeline.config.schema import Config
from icebox.pipeline.project import paths

logger = logging.getLogger("icebox")


def choose(
    config: Config,
    key: str,
    backbone: Backbone,
    rows: Sequence[ManifestRow],
    read: Read,
    *,
    by_calibration: bool = True,
) -> None:
    """Let a store's backbone, loaded in float32, run in int8.

    Without `by_calibration`, only by a network that is there. Raises IceboxError where its features would be farther
    from float32 than the store's entry allows, and where the store holds features of a network whose file is missing.
    """
    store = config.stores[key]
    with located(f"stores.{key}"):
        refuse_missing()
        view = store.expanded_views[0]
        origin = quantization.origin_of(backbone.spec, dataset=store.dataset, view=view)
        own = paths.store(key) / FILE
        network = first_of([own, kept(origin)], origin)
        if network is None:
            refuse_lost(key, backbone.spec)
            if not by_calibration:
                raise IceboxError(
                    "precision: int8: each machine would calibrate a network of its own; begin the store on one of "
                    f"them without parts, stop it once shards are made, and copy its {own} to the others"
                )
            network = quantization.calibrate(backbone, rows, read, view, origin=origin)
        else:
            backbone.use_quantized(network)
        logger.info("%s: %s", key, quantization.summary(network))
        quantization.refuse_above(store.int8_tolerance, network)
        for path in (own, kept(origin)):
            network.write(path)


def refuse_missing() -> None:
    """Raise IceboxError where what quantizes networks, and runs them, is not installed."""
    for package in ("openvino", "nncf"):
        if not runtime.is_importable(package):
            raise IceboxError(f"precision: int8 needs {package}; run: pip install '{quantization.EXTRA}'")


def kept(origin: str) -> Path:
    """The file of a network that outlives its stores' folders."""
    return paths.QUANTIZED / f"{origin}.npz"


def first_of(places: Iterable[Path], origin: str) -> QuantizedNetwork | None:
    """The first network in these files that was made for the same."""
    networks = (quantized_network.read(path) for path in places if path.exists())
    return next((network for network in networks if network.origin == origin), None)


def refuse_lost(key: str, spec: dict[str, Any]) -> None:
    """Raise IceboxError where the store holds features of this backbone in int8."""
    folder = paths.store(key)
    try:
        stored = index.read(folder).spec if files.exists(folder / index.FILE) else {}
    except IceboxError:  # damaged: its features will be made again
        return
    if quantization.is_of(spec, stored):
        raise lost(folder)


def lost(folder: Path) -> IceboxError:
    """The error of a store without the network of its features."""
    return IceboxError(
        f"{folder / FILE}: not found, and only that int8 network makes features like those of the store; restore it "
        f"(dvc checkout {folder}, dvc pull {folder}), or delete {folder} to have all of them made anew"
    )


def keep(store: str, digest: str) -> None:
    """Put the network of a store's features where it outlives the store's folder."""
    network = find(store, digest)
    network.write(kept(network.origin))


def find(store: str, digest: str) -> QuantizedNetwork:
    """The network of this digest that made a store's features. Raises IceboxError where it is not here."""
    refuse_missing()
    for path in (paths.store(store) / FILE, *sorted(paths.QUANTIZED.glob("*.npz"))):
        if path.exists() and (network := quantized_network.read(path)).digest == digest:
            return network
    raise lost(paths.store(store))


def use(backbone: Backbone, store: str, spec: dict[str, Any]) -> None:
    """Let a backbone run by the network of a store's spec, if that is in int8."""
    if spec.get("precision") == INT8:
        backbone.use_quantized(find(store, spec["quantized"]))
