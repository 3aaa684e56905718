"""`precision: int8`: a network quantized on a sample of train, and how far its features are from those in float32.

Ranges of numbers are measured on some items, so which ones is recorded, and the network is kept: a store grows with the
one that it began with.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from heapq import nsmallest
from itertools import islice
from typing import Any

import numpy as np

from icebox.features import fingerprint
from icebox.features.abc.backbone import Backbone
from icebox.features.abc.quantized_network import INT8, QuantizedNetwork
from icebox.features.errors import IceboxError, ItemError
from icebox.features.extraction import views
from icebox.features.extraction.consistency import relative_distance
from icebox.features.manifest.manifest import ManifestRow
from icebox.features.manifest.reading import Read

VERSION = 1  # raised when networks are quantized in another way
CALIBRATION_ITEMS, HELD_OUT_ITEMS = 128, 64
TRIED_ITEMS = 1024  # of which some may be unreadable, or equal
AT_ONCE = 16  # of the held-out items
EXTRA = "icebox[int8]"


def origin_of(spec: Mapping[str, Any], **where: str) -> str:
    """The origin of a quantized network: a backbone's spec in float32, and where its items come from."""
    return fingerprint.of_settings({**spec, "precision": INT8, "quantization": VERSION, **where})


def is_of(spec: Mapping[str, Any], stored: Mapping[str, Any]) -> bool:
    """Whether a store's spec is that of a backbone's in float32, quantized."""
    left_out = ("precision", "quantized", "runtime", "stored", "projection")
    same = [{key: value for key, value in each.items() if key not in left_out} for each in (spec, stored)]
    return stored.get("precision") == INT8 and same[0] == same[1]


def calibrate(
    backbone: Backbone, rows: Sequence[ManifestRow], read: Read, view: str, *, origin: str
) -> QuantizedNetwork:
    """A backbone's network, which is in float32, in int8: calibrated on a part of train and tried on another.

    Both are the items of the smallest content hashes: at random, yet the same on every machine. The backbone runs by it
    afterwards. Raises IceboxError where there are no two items, and for a network that can't be quantized.
    """
    backbone.use_quantized(None)
    readable = list(islice(prepared(backbone, rows, read, view), CALIBRATION_ITEMS + HELD_OUT_ITEMS))
    kept = max(len(readable) * CALIBRATION_ITEMS // (CALIBRATION_ITEMS + HELD_OUT_ITEMS), 1)
    sample, held_out = readable[:kept], [item for _, item in readable[kept:]]
    if not held_out:
        raise IceboxError(
            "precision: int8 is calibrated on a part of train and tried on another: expected two items or more that "
            f"can be read, found {len(readable)}; take auto"
        )
    exact = [backbone.encode(part) for part in parts(held_out)]
    network = backbone.quantized([item for _, item in sample])
    backbone.use_quantized(network)
    apart = [
        relative_distance(row, reference, zero_norm=1.0)
        for part, features in zip(parts(held_out), exact, strict=True)
        for output, values in backbone.encode(part).items()
        for row, reference in zip(values, features[output], strict=True)
    ]
    record = {
        "calibrated": len(sample),
        "sample": fingerprint.of_settings([key for key, _ in sample]),
        "held_out": len(held_out),
        "mean": float(np.mean(apart)),
        "largest": float(np.max(apart)),
    }
    return replace(network, origin=origin, record=record)


def prepared(backbone: Backbone, rows: Sequence[ManifestRow], read: Read, view: str) -> Iterator[tuple[str, Any]]:
    """Yield key and prepared item of each distinct content of train that can be read, the smallest keys first."""
    train = (row for row in rows if row.split == "train")
    distinct = {row.item_key: row for row in nsmallest(TRIED_ITEMS, train, key=lambda row: row.item_key)}
    for key, row in distinct.items():
        try:
            yield key, views.prepare(backbone, read(row.source), view)
        except ItemError:  # extraction will name it
            continue


def parts(items: Sequence[Any]) -> list[Sequence[Any]]:
    """The items, so many at once that maps of them fit into memory."""
    return [items[start : start + AT_ONCE] for start in range(0, len(items), AT_ONCE)]


def summary(network: QuantizedNetwork) -> str:
    """How it was calibrated, and its error."""
    record = network.record
    return (
        f"int8, calibrated on {record['calibrated']} items of train; of {record['held_out']} others features are "
        f"{record['mean']:.2%} of their norm apart from those in float32 on average, {record['largest']:.2%} at most"
    )


def refuse_above(tolerance: float, network: QuantizedNetwork) -> None:
    """Raise IceboxError for a network whose features are farther from float32 on average."""
    if not network.record["mean"] <= tolerance:
        raise IceboxError(
            f"{summary(network)}: more than int8_tolerance: {tolerance:g}; raise it where heads score as well, or take "
            "precision: auto"
        )
