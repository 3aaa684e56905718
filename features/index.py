"""`index.h5` of a store: written last and atomically, so that its presence means "complete".

Per item, in manifest order: `item_id`, `label`, `split`, and where its row lies (`shard`, `row`). Virtual datasets
`features/<output>` join the shards' rows, so plain h5py reads each output as one array. Attributes, all JSON:
`spec` (what determined the features), `shards` (name, size and rows of each, and where its arrays lie, so that reading
opens no shard as HDF5; the name is the sha256's first 32 digits), `skipped` (items whose content could not be read);
and `fingerprint`, and `sha256` over all of these.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from features import atomic, hdf5
from features.errors import IceboxError
from features.fingerprint import canonical_json
from features.manifest import Row
from features.shard import Array, Shard
from features.shard_cache import Place

FILE = "index.h5"
COLUMNS = ("item_id", "label", "split", "shard", "row")
ATTRIBUTES = ("fingerprint", "spec", "skipped", "shards")


@dataclass(frozen=True)
class Listed:
    """What an index says of one shard."""

    name: str
    size_bytes: int
    rows: int
    arrays: dict[str, Array]


@dataclass(frozen=True)
class Index:
    """What an index says: per item (n,) its id, label, split (all UTF-8 bytes), shard and row; and its shards."""

    item_ids: np.ndarray
    labels: np.ndarray
    splits: np.ndarray
    shard_of: np.ndarray
    row_of: np.ndarray
    outputs: tuple[str, ...]
    fingerprint: str
    spec: dict[str, Any]
    skipped: dict[str, str]
    shards: list[Listed]


def read(store: Path) -> Index:
    """The index of the store in this folder. Raises IceboxError where there is none, or a broken one."""
    path = store / FILE
    if not path.exists():
        raise IceboxError(f"{store}: no finished feature store here; run: dvc repro extract@{store.name}")
    try:
        with h5py.File(path) as file:
            columns = {column: file[column][:] for column in COLUMNS}
            if file.attrs["sha256"] != sha256_of(file, columns):
                raise ValueError("one whose columns are not what was written")
            return Index(
                item_ids=columns["item_id"],
                labels=columns["label"],
                splits=columns["split"],
                shard_of=columns["shard"],
                row_of=columns["row"],
                outputs=tuple(file["features"]),
                fingerprint=str(file.attrs["fingerprint"]),
                spec=json.loads(file.attrs["spec"]),
                skipped=json.loads(file.attrs["skipped"]),
                shards=[listed(entry) for entry in json.loads(file.attrs["shards"])],
            )
    except hdf5.BROKEN as reason:
        found = f"one without {reason} (of another version?)" if isinstance(reason, KeyError) else reason
        raise IceboxError(
            f"{path}: expected an index, found {found}; run: dvc repro -f extract@{store.name}"
        ) from reason


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
    with atomic.replacing(store / FILE) as temporary, hdf5.created(temporary) as file:
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
                {
                    "name": part.path.name,
                    "bytes": part.path.stat().st_size,
                    "rows": len(part.item_keys),
                    "arrays": {output: asdict(array) for output, array in part.arrays.items()},
                }
                for part in shards
            ]
        )
        file.attrs["sha256"] = sha256_of(file, {column: file[column][:] for column in COLUMNS})


def listed(entry: dict[str, Any]) -> Listed:
    """A shard's entry in the attribute `shards`."""
    arrays = {
        output: Array(array["dtype"], tuple(array["shape"]), array["offset_bytes"])
        for output, array in entry["arrays"].items()
    }
    return Listed(entry["name"], entry["bytes"], entry["rows"], arrays)


def text(column: np.ndarray) -> np.ndarray:
    """A column of UTF-8 bytes as str objects, each distinct one decoded once."""
    raw = column.tolist()
    decoded = {value: value.decode("utf-8", "surrogateescape") for value in set(raw)}
    return np.array([decoded[value] for value in raw], dtype=object)


def sha256_of(file: h5py.File, columns: dict[str, np.ndarray]) -> str:
    """sha256 (hex) of an index's columns and attributes, which no file name vouches for."""
    digest = hashlib.sha256()
    for column, values in columns.items():
        digest.update(f"{column}{values.dtype.str}{values.shape}".encode())
        digest.update(values.tobytes())
    for attribute in ATTRIBUTES:
        digest.update(f"{attribute}{file.attrs[attribute]}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def virtual(output: str, shards: Sequence[Shard], shard_of: np.ndarray, row_of: np.ndarray) -> h5py.VirtualLayout:
    """One array over all shards, of a type that holds each one's. Rows that follow each other are mapped together."""
    row_shape = shards[0].arrays[output].shape[1:]
    layout = h5py.VirtualLayout(
        shape=(len(row_of), *row_shape), dtype=common_dtype(part.arrays[output].dtype for part in shards)
    )
    layout.dcpl.set_obj_track_times(False)  # h5py turns the clock off for all datasets but virtual ones
    for start, stop in runs(shard_of, row_of):
        part = shards[shard_of[start]]
        array = part.arrays[output]
        # a relative name is looked up beside the index, wherever the store is moved to
        source = h5py.VirtualSource(part.path.name, f"features/{output}", array.shape, array.dtype)
        layout[start:stop] = source[row_of[start] : row_of[start] + (stop - start)]
    return layout


def common_dtype(dtypes: Iterable[str]) -> np.dtype[Any]:
    """The type that holds an output's values of every shard: one of float32 among float16 makes it float32."""
    return np.result_type(*set(dtypes))


def runs(shard_of: np.ndarray, row_of: np.ndarray) -> list[tuple[int, int]]:
    """The longest stretches [start, stop) that are consecutive rows of one shard."""
    breaks = np.flatnonzero((np.diff(shard_of.astype(np.int64)) != 0) | (np.diff(row_of.astype(np.int64)) != 1)) + 1
    return list(pairwise([0, *breaks.tolist(), len(row_of)]))


def fixed_width(texts: Sequence[str]) -> np.ndarray:
    """Texts as fixed-width UTF-8: variable-width ones lie in a heap whose bytes are not reproducible."""
    encoded = [text.encode("utf-8", "surrogateescape") for text in texts]
    width = max((len(text) for text in encoded), default=1) or 1
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", width))
