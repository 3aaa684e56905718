"""`index.h5` of a store: written last and atomically, so that its presence means "complete".

Per item, in manifest order: `item_id`, `label`, `split`, its `group` where any item has one, and where its row lies
(`shard`, `row`). Virtual datasets `features/<output>` join the shards' rows, so plain h5py reads each output as one
array (of tokens' vectors Σt, and `offsets/<output>` (n + 1,) says where each item's begin). That is the first view;
each other one has the same in `views/<view>/`. Attribute `index` is JSON: `fingerprint`, `spec` (what determined the
features), `views`, `outputs`, `items` (how many), `columns` (the sha256 of each), `shards` (name, size and rows of
each, and where its arrays lie, so that reading opens no shard as HDF5; the name is the sha256's first 32 digits) and
`skipped` (items whose content could not be read). Attribute `sha256` is that of `index`.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from icebox.features import files
from icebox.features.errors import IceboxError
from icebox.features.fingerprint import canonical_json
from icebox.features.manifest.manifest import Row
from icebox.features.ragged import OFFSETS, offsets_of
from icebox.features.store import columns, hdf5, virtual_datasets
from icebox.features.store.cache import Place
from icebox.features.store.shards import Array

FILE = "index.h5"
COLUMNS = ("item_id", "label", "split")
GROUP = "group"


@dataclass(frozen=True)
class Listed:
    """What an index says of one shard."""

    name: str
    size_bytes: int
    rows: int
    arrays: dict[str, Array]


@dataclass(frozen=True)
class Index:
    """What an index says: per view and item (v, n) the number of the row's shard and the row in it; and the shards.

    Other columns are read when they are first asked for, since most of who opens a store needs few of them. Raises
    IceboxError for one that is not the one that was there then.
    """

    path: Path
    items: int
    shard_of: np.ndarray
    row_of: np.ndarray
    digests: dict[str, str]  # column → sha256
    views: tuple[str, ...]
    outputs: tuple[str, ...]
    fingerprint: str
    spec: dict[str, Any]
    skipped: dict[str, str]
    shards: list[Listed]

    @cached_property
    def item_ids(self) -> np.ndarray:
        """Ids (n,), UTF-8 bytes."""
        return self.column("item_id")

    @cached_property
    def labels(self) -> np.ndarray:
        """Labels (n,), UTF-8 bytes."""
        return self.column("label")

    @cached_property
    def splits(self) -> np.ndarray:
        """Splits (n,), UTF-8 bytes."""
        return self.column("split")

    @cached_property
    def groups(self) -> np.ndarray:
        """Groups (n,), UTF-8 bytes; empty where there are none."""
        return self.column(GROUP) if GROUP in self.digests else np.zeros(self.items, "S1")

    def column(self, name: str) -> np.ndarray:
        """One column, read and checked anew."""
        with explained(self.path), h5py.File(self.path) as file:
            return columns.checked(file, name, self.digests)

    def check(self) -> None:
        """Read every column. Raises IceboxError for one that is damaged."""
        for name in self.digests:
            self.column(name)


def read(store: Path) -> Index:
    """The index of the store in this folder. Raises IceboxError where there is none, or a broken one."""
    path = store / FILE
    if not path.exists():
        raise IceboxError(f"{store}: no finished feature store here", hint="extract", store=store.name)
    with explained(path), h5py.File(path) as file:
        written = file.attrs["index"]
        if file.attrs["sha256"] != sha256_of(written):
            raise ValueError("one whose attributes are not what was written")
        said = json.loads(written)
        groups = groups_of(said["views"])
        return Index(
            path=path,
            items=said["items"],
            shard_of=np.stack([columns.checked(file, f"{group}shard", said["columns"]) for group in groups]),
            row_of=np.stack([columns.checked(file, f"{group}row", said["columns"]) for group in groups]),
            digests=said["columns"],
            views=tuple(said["views"]),
            outputs=tuple(said["outputs"]),
            fingerprint=said["fingerprint"],
            spec=said["spec"],
            skipped=said["skipped"],
            shards=[listed(entry) for entry in said["shards"]],
        )


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what h5py raises for a broken index into an IceboxError."""
    try:
        yield
    except hdf5.BROKEN as reason:
        found = f"one without {reason} (of another version?)" if isinstance(reason, KeyError) else reason
        raise IceboxError(
            f"{path}: expected an index, found {found}", hint="extract again", store=path.parent.name
        ) from reason


def write(
    store: Path,
    *,
    rows: Sequence[Row],
    places: Mapping[str, Sequence[Place]],
    spec: dict[str, Any],
    fingerprint: str,
    skipped: dict[str, str],
) -> None:
    """Write the index over shards that lie in `store` already; `places[view][i]` is where that of `rows[i]` does."""
    shards = list({place.shard.path.name: place.shard for place in chain(*places.values())}.values())
    number = {part.path.name: i for i, part in enumerate(shards)}
    with files.replacing(store / FILE) as temporary, hdf5.created(temporary) as file:
        for column in COLUMNS:
            file[column] = columns.fixed_width([getattr(row, column) for row in rows])
        if grouped := any(row.group for row in rows):
            file[GROUP] = columns.fixed_width([row.group for row in rows])
        for group, of_view in zip(groups_of(tuple(places)), places.values(), strict=True):
            shard_of = file[f"{group}shard"] = np.array([number[place.shard.path.name] for place in of_view], np.uint32)
            row_of = file[f"{group}row"] = np.array([place.row for place in of_view], np.uint32)
            for output in virtual_datasets.outputs_of(shards[0].arrays):
                starts, stops = virtual_datasets.spans(output, shards, shard_of, row_of)
                # a missing shard then reads as NaN in plain h5py, not as plausible zeros
                file.create_virtual_dataset(
                    f"{group}features/{output}",
                    virtual_datasets.virtual(output, shards, shard_of, starts, stops),
                    fillvalue=np.nan,
                )
                if OFFSETS + output in shards[0].arrays:
                    file[f"{group}{OFFSETS}{output}"] = offsets_of(stops - starts)
        names = columns_of(tuple(places), grouped=grouped)
        written = canonical_json(
            {
                "fingerprint": fingerprint,
                "spec": spec,
                "views": list(places),
                "outputs": as_asked(virtual_datasets.outputs_of(shards[0].arrays), spec.get("outputs", [])),
                "items": len(rows),
                "columns": {name: columns.sha256_of_column(file[name][:]) for name in names},
                "shards": [
                    {
                        "name": part.path.name,
                        "bytes": part.path.stat().st_size,
                        "rows": len(part.item_keys),
                        "arrays": {output: asdict(array) for output, array in part.arrays.items()},
                    }
                    for part in shards
                ],
                "skipped": skipped,
            }
        )
        file.attrs["index"] = written
        file.attrs["sha256"] = sha256_of(written)


def groups_of(views: Sequence[str]) -> list[str]:
    """Where in the file each view's columns and features lie: the first one's at its top."""
    return ["", *(f"views/{view}/" for view in views[1:])]


def columns_of(views: Sequence[str], *, grouped: bool) -> list[str]:
    """The columns of an index with these views."""
    places = [f"{group}{column}" for group in groups_of(views) for column in ("shard", "row")]
    return [*COLUMNS, *([GROUP] if grouped else []), *places]


def as_asked(found: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """Outputs as they were asked for; HDF5 lists them by name."""
    return tuple(sorted(found, key=lambda output: wanted.index(output) if output in wanted else len(wanted)))


def listed(entry: dict[str, Any]) -> Listed:
    """A shard's entry in the attribute `shards`."""
    arrays = {
        output: Array(array["dtype"], tuple(array["shape"]), array["offset_bytes"])
        for output, array in entry["arrays"].items()
    }
    return Listed(entry["name"], entry["bytes"], entry["rows"], arrays)


def sha256_of(written: str) -> str:
    """sha256 (hex) of what an index says."""
    return hashlib.sha256(written.encode("utf-8", "surrogateescape")).hexdigest()
