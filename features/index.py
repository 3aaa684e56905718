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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from features import atomic, hdf5
from features.errors import IceboxError
from features.fingerprint import canonical_json
from features.manifest import Row
from features.ragged import OFFSETS, offsets_of
from features.shard import Array, Shard
from features.shard_cache import Place

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
            return checked(file, name, self.digests)

    def check(self) -> None:
        """Read every column. Raises IceboxError for one that is damaged."""
        for name in self.digests:
            self.column(name)


def read(store: Path) -> Index:
    """The index of the store in this folder. Raises IceboxError where there is none, or a broken one."""
    path = store / FILE
    if not path.exists():
        raise IceboxError(f"{store}: no finished feature store here; run: dvc repro extract@{store.name}")
    with explained(path), h5py.File(path) as file:
        written = file.attrs["index"]
        if file.attrs["sha256"] != sha256_of(written):
            raise ValueError("one whose attributes are not what was written")
        said = json.loads(written)
        return Index(
            path=path,
            items=said["items"],
            shard_of=np.stack([checked(file, f"{group}shard", said["columns"]) for group in groups_of(said["views"])]),
            row_of=np.stack([checked(file, f"{group}row", said["columns"]) for group in groups_of(said["views"])]),
            digests=said["columns"],
            views=tuple(said["views"]),
            outputs=tuple(said["outputs"]),
            fingerprint=said["fingerprint"],
            spec=said["spec"],
            skipped=said["skipped"],
            shards=[listed(entry) for entry in said["shards"]],
        )


def checked(file: h5py.File, column: str, digests: Mapping[str, str]) -> np.ndarray:
    """A column. Raises ValueError where it is not what was written."""
    values: np.ndarray = file[column][:]
    if sha256_of_column(values) != digests[column]:
        raise ValueError(f"one whose column {column} is not what was written")
    return values


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what h5py raises for a broken index into an IceboxError that says what to do."""
    try:
        yield
    except hdf5.BROKEN as reason:
        found = f"one without {reason} (of another version?)" if isinstance(reason, KeyError) else reason
        raise IceboxError(
            f"{path}: expected an index, found {found}; run: dvc repro -f extract@{path.parent.name}"
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
    with atomic.replacing(store / FILE) as temporary, hdf5.created(temporary) as file:
        for column in COLUMNS:
            file[column] = fixed_width([getattr(row, column) for row in rows])
        if grouped := any(row.group for row in rows):
            file[GROUP] = fixed_width([row.group for row in rows])
        for group, of_view in zip(groups_of(tuple(places)), places.values(), strict=True):
            shard_of = file[f"{group}shard"] = np.array([number[place.shard.path.name] for place in of_view], np.uint32)
            row_of = file[f"{group}row"] = np.array([place.row for place in of_view], np.uint32)
            for output in outputs_of(shards[0].arrays):
                starts, stops = spans(output, shards, shard_of, row_of)
                # a missing shard then reads as NaN in plain h5py, not as plausible zeros
                file.create_virtual_dataset(
                    f"{group}features/{output}", virtual(output, shards, shard_of, starts, stops), fillvalue=np.nan
                )
                if OFFSETS + output in shards[0].arrays:
                    file[f"{group}{OFFSETS}{output}"] = offsets_of(stops - starts)
        columns = columns_of(tuple(places), grouped=grouped)
        written = canonical_json(
            {
                "fingerprint": fingerprint,
                "spec": spec,
                "views": list(places),
                "outputs": as_asked(outputs_of(shards[0].arrays), spec.get("outputs", [])),
                "items": len(rows),
                "columns": {column: sha256_of_column(file[column][:]) for column in columns},
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


def text(column: np.ndarray) -> np.ndarray:
    """A column of UTF-8 bytes as str objects, each distinct one decoded once."""
    raw = column.tolist()
    decoded = {value: value.decode("utf-8", "surrogateescape") for value in set(raw)}
    return np.array([decoded[value] for value in raw], dtype=object)


def sha256_of(written: str) -> str:
    """sha256 (hex) of what an index says."""
    return hashlib.sha256(written.encode("utf-8", "surrogateescape")).hexdigest()


def sha256_of_column(values: np.ndarray) -> str:
    """sha256 (hex) of a column, its type and shape."""
    digest = hashlib.sha256(f"{values.dtype.str}{values.shape}".encode())
    digest.update(values.tobytes())
    return digest.hexdigest()


def outputs_of(arrays: Mapping[str, Array]) -> list[str]:
    """The outputs among a shard's arrays."""
    return [name for name in arrays if not name.startswith(OFFSETS)]


def spans(
    output: str, shards: Sequence[Shard], shard_of: np.ndarray, row_of: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """From where to where, in its shard's array, each item's rows lie: one row, or one a token."""
    starts = row_of.astype(np.int64)
    stops = starts + 1
    for number, part in enumerate(shards):
        if OFFSETS + output in part.arrays:
            here = shard_of == number
            offsets = part.arrays[OFFSETS + output].map(part.path)
            starts[here], stops[here] = offsets[row_of[here]], offsets[row_of[here] + 1]
    return starts, stops


def virtual(
    output: str, shards: Sequence[Shard], shard_of: np.ndarray, starts: np.ndarray, stops: np.ndarray
) -> h5py.VirtualLayout:
    """One array over all shards, of a type that holds each one's. Rows that follow each other are mapped together."""
    row_shape = shards[0].arrays[output].shape[1:]
    ends = offsets_of(stops - starts)
    layout = h5py.VirtualLayout(
        shape=(int(ends[-1]), *row_shape), dtype=common_dtype(part.arrays[output].dtype for part in shards)
    )
    layout.dcpl.set_obj_track_times(False)  # h5py turns the clock off for all datasets but virtual ones
    for first, last in runs(shard_of, starts, stops):
        part = shards[shard_of[first]]
        array = part.arrays[output]
        if ends[first] < ends[last]:
            # a relative name is looked up beside the index, wherever the store is moved to
            source = h5py.VirtualSource(part.path.name, f"features/{output}", array.shape, array.dtype)
            layout[int(ends[first]) : int(ends[last])] = source[int(starts[first]) : int(stops[last - 1])]
    return layout


def common_dtype(dtypes: Iterable[str]) -> np.dtype[Any]:
    """The type that holds an output's values of every shard: one of float32 among float16 makes it float32."""
    return np.result_type(*set(dtypes))


def runs(shard_of: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> list[tuple[int, int]]:
    """The longest stretches [first, last) of items whose rows follow each other in one shard."""
    breaks = np.flatnonzero((np.diff(shard_of.astype(np.int64)) != 0) | (starts[1:] != stops[:-1])) + 1
    return list(pairwise([0, *breaks.tolist(), len(starts)]))


def fixed_width(texts: Sequence[str]) -> np.ndarray:
    """Texts as fixed-width UTF-8: variable-width ones lie in a heap whose bytes are not reproducible."""
    encoded = [text.encode("utf-8", "surrogateescape") for text in texts]
    width = max((len(text) for text in encoded), default=1) or 1
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", width))
