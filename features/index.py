"""`index.h5` of a store: written last and atomically, so that its presence means "complete".

Per item, in manifest order: `item_id`, `label`, `split`, and where its row lies (`shard`, `row`). Virtual datasets
`features/<output>` join the shards' rows, so plain h5py reads each output as one array. Attributes, all JSON:
`spec` (what determined the features), `shards` (name, size and rows of each; the name is the sha256's first 32
digits), `skipped` (items whose content could not be read); and `fingerprint`.
"""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from features import atomic
from features.fingerprint import canonical_json
from features.manifest import Row
from features.shard import Shard
from features.shard_cache import Place

FILE = "index.h5"


def write(
    store: Path,
    *,
    rows: Sequence[Row],
    places: Sequence[Place],
    spec: dict[str, Any],
    fingerprint: str,
    skipped: dict[str, str],
) -> None:
    """Write the index over shards that already lie in `store`. `places[i]` is where the features of `rows[i]` lie."""
    shards = list({place.shard.path.name: place.shard for place in places}.values())
    number = {part.path.name: i for i, part in enumerate(shards)}
    shard_of = np.array([number[place.shard.path.name] for place in places], np.uint32)
    row_of = np.array([place.row for place in places], np.uint32)
    with atomic.replacing(store / FILE) as temporary, h5py.File(temporary, "w") as file:
        for column in ("item_id", "label", "split"):
            file[column] = fixed_width([getattr(row, column) for row in rows])
        file["shard"] = shard_of
        file["row"] = row_of
        for output in shards[0].arrays:
            # a missing shard then reads as NaN in plain h5py, not as plausible zeros
            file.create_virtual_dataset(
                f"features/{output}", virtual(output, shards, shard_of, row_of), fillvalue=np.nan
            )
        file.attrs["fingerprint"] = fingerprint
        file.attrs["spec"] = canonical_json(spec)
        file.attrs["skipped"] = canonical_json(skipped)
        file.attrs["shards"] = canonical_json(
            [
                {"name": part.path.name, "bytes": part.path.stat().st_size, "rows": len(part.item_keys)}
                for part in shards
            ]
        )


def virtual(output: str, shards: Sequence[Shard], shard_of: np.ndarray, row_of: np.ndarray) -> h5py.VirtualLayout:
    """One array over all shards. Rows that follow each other in a shard are mapped together."""
    first = shards[0].arrays[output]
    layout = h5py.VirtualLayout(shape=(len(row_of), *first.shape[1:]), dtype=first.dtype)
    layout.dcpl.set_obj_track_times(False)  # h5py turns the clock off for all datasets but virtual ones
    for start, stop in runs(shard_of, row_of):
        part = shards[shard_of[start]]
        # a relative name is looked up beside the index, wherever the store is moved to
        source = h5py.VirtualSource(part.path.name, f"features/{output}", part.arrays[output].shape, first.dtype)
        layout[start:stop] = source[row_of[start] : row_of[start] + (stop - start)]
    return layout


def runs(shard_of: np.ndarray, row_of: np.ndarray) -> list[tuple[int, int]]:
    """The longest stretches [start, stop) that are consecutive rows of one shard."""
    breaks = np.flatnonzero((np.diff(shard_of.astype(np.int64)) != 0) | (np.diff(row_of.astype(np.int64)) != 1)) + 1
    return list(pairwise([0, *breaks.tolist(), len(row_of)]))


def fixed_width(texts: Sequence[str]) -> np.ndarray:
    """Texts as fixed-width UTF-8: variable-width ones lie in a heap whose bytes are not reproducible."""
    encoded = [text.encode("utf-8", "surrogateescape") for text in texts]
    width = max((len(text) for text in encoded), default=1) or 1
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", width))


def read_json(file: h5py.File, attribute: str) -> Any:
    """One of the index's JSON attributes."""
    return json.loads(file.attrs[attribute])
