"""`index.h5` of a store: written last and atomically, so that its presence means "complete".

Per item, in manifest order: `item_id`, `label`, `split`, its `group` where any item has one, and where its row lies
(`shard`, `row`). Virtual datasets `features/<output>` join the shards' rows, so plain h5py reads each output as one
array (of tokens' vectors Σt, and `offsets/<output>` (n + 1,) says where each item's begin). That is the first view;
each other one has the same in `views/<view>/`. Attribute `index` is JSON: `fingerprint`, `spec` (what determined the
features), `views`, `outputs`, `items` (how many), `columns` (the sha256 of each), `shards` (name, size and rows of
each, and where its arrays lie, so that reading opens no shard as HDF5; the name is the sha256's first 32 digits) and
`skipped` (items whose content could not be read); also `odd` where a decoder complained of items that were taken.
Attribute `sha256` is that of `index`.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from icebox.features import files
from icebox.features.errors import IceboxError, cause
from icebox.features.fingerprint import canonical_json
from icebox.features.manifest.manifest import Manifest, ManifestRow
from icebox.features.ragged import OFFSETS, offsets_of
from icebox.features.store import hdf5, virtual_datasets
from icebox.features.store.shard_cache.places import Places, RowLocation
from icebox.features.store.shards import ArrayLocation, Shard

FILE = "index.h5"
COLUMNS = ("item_id", "label", "split")
GROUP = "group"
DECODED_AT_ONCE = 65_536


@dataclass(frozen=True)
class ShardEntry:
    """An index's entry for one shard."""

    name: str
    size_bytes: int
    rows: int
    arrays: dict[str, ArrayLocation]


@dataclass(frozen=True)
class Index:
    """The content of an index. `shard_of` and `row_of` (v views, n items) locate each row by its shard's number.

    The other columns are read at first use, since most callers need few of them, and raise IceboxError where they are
    no longer those that were there when the index was opened.
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
    odd: dict[str, str]
    shards: list[ShardEntry]

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
        with broken_index_explained(self.path), h5py.File(self.path) as file:
            return checked_column(file, name, self.digests)

    def check_columns(self) -> None:
        """Read every column. Raises IceboxError for one that is damaged."""
        for name in self.digests:
            self.column(name)


def read(store: Path) -> Index:
    """The index of the store in this folder. Raises IceboxError where there is none, or a broken one."""
    path = store / FILE
    if not files.exists(path):
        raise IceboxError(f"{store}: no finished feature store here", hint="extract", store=store.name)
    with broken_index_explained(path), h5py.File(path) as file:
        text = file.attrs["index"]
        if file.attrs["sha256"] != sha256_of_text(text):
            raise broken_index(path, "one whose attributes are not what was written")
        attributes = json.loads(text)
        digests, groups = attributes["columns"], view_groups(attributes["views"])
        return Index(
            path=path,
            items=attributes["items"],
            shard_of=np.stack([checked_column(file, f"{group}shard", digests) for group in groups]),
            row_of=np.stack([checked_column(file, f"{group}row", digests) for group in groups]),
            digests=digests,
            views=tuple(attributes["views"]),
            outputs=tuple(attributes["outputs"]),
            fingerprint=attributes["fingerprint"],
            spec=attributes["spec"],
            skipped=attributes["skipped"],
            odd=attributes.get("odd", {}),
            shards=[shard_entry(entry) for entry in attributes["shards"]],
        )


def digest(store: Path) -> str:
    """The sha256 that an index holds of itself: other items, labels, splits or shards have another."""
    path = store / FILE
    with broken_index_explained(path), h5py.File(path) as file:
        return str(file.attrs["sha256"])


@contextmanager
def broken_index_explained(path: Path) -> Iterator[None]:
    """Turn the errors that h5py raises for a broken index, or for one that can't be read now, into an IceboxError."""
    try:
        yield
    except KeyError as reason:
        raise broken_index(path, f"one without {reason} (of another version?)") from reason
    except hdf5.BROKEN as reason:
        try:
            path.read_bytes()
        except (OSError, MemoryError) as refusal:
            raise files.unreadable(path, refusal) from reason
        if isinstance(reason, OSError) and reason.errno:
            raise files.unreadable(path, reason) from reason
        raise broken_index(path, cause(reason)) from reason


def broken_index(path: Path, problem: object) -> IceboxError:
    """The error for an index that can't be used."""
    return IceboxError(f"{path}: expected an index, found {problem}", hint="extract again", store=path.parent.name)


def write(
    store: Path,
    *,
    rows: Sequence[ManifestRow],
    places: Mapping[str, Sequence[RowLocation]],
    spec: dict[str, Any],
    fingerprint: str,
    skipped: dict[str, str],
    odd: dict[str, str],
) -> None:
    """Write the index over shards that lie in `store` already; `places[view][i]` locates the features of `rows[i]`."""
    shards, numbered = numbered_shards({view: Places.of(of_view) for view, of_view in places.items()})
    manifest = Manifest.of(rows)
    outputs = virtual_datasets.outputs_of(shards[0].arrays)
    with files.replacing(store / FILE) as temporary, hdf5.created(temporary) as file:
        for column in COLUMNS:
            file[column] = encoded_column(manifest, column)
        if grouped := any(manifest.distinct(GROUP)):
            file[GROUP] = encoded_column(manifest, GROUP)
        for group, (shard_of, row_of) in zip(view_groups(tuple(places)), numbered, strict=True):
            file[f"{group}shard"], file[f"{group}row"] = shard_of, row_of
            for output in outputs:
                starts, stops = virtual_datasets.spans(output, shards, shard_of, row_of)
                # a missing shard then reads as NaN in plain h5py, not as plausible zeros
                file.create_virtual_dataset(
                    f"{group}features/{output}",
                    virtual_datasets.virtual_layout(output, shards, shard_of, starts, stops),
                    fillvalue=np.nan,
                )
                if OFFSETS + output in shards[0].arrays:
                    file[f"{group}{OFFSETS}{output}"] = offsets_of(stops - starts)
        text = canonical_json(
            {
                "fingerprint": fingerprint,
                "spec": spec,
                "views": list(places),
                "outputs": in_requested_order(outputs, spec.get("outputs", [])),
                "items": len(rows),
                "columns": {
                    name: sha256_of_column(file[name][:]) for name in column_names(tuple(places), grouped=grouped)
                },
                "shards": [
                    {
                        "name": shard.path.name,
                        "bytes": (store / shard.path.name).stat().st_size,
                        "rows": len(shard.item_keys),
                        "arrays": {output: asdict(array) for output, array in shard.arrays.items()},
                    }
                    for shard in shards
                ],
                "skipped": skipped,
                **({"odd": odd} if odd else {}),
            }
        )
        file.attrs["index"] = text
        file.attrs["sha256"] = sha256_of_text(text)


def numbered_shards(
    places: Mapping[str, Places],
) -> tuple[list[Shard], list[tuple[np.ndarray, np.ndarray]]]:
    """(the shards that are used, in the order of their first item; of each view the number of each item's shard among
    them and the row there, (n,) uint32 both)."""
    number: dict[str, int] = {}
    shards: list[Shard] = []
    columns = []
    for of_view in places.values():
        used, first = np.unique(of_view.shard_of, return_index=True)
        new_number = np.zeros(len(of_view.shards), np.uint32)
        for old in used[np.argsort(first)].tolist():
            shard = of_view.shards[old]
            if shard.path.name not in number:
                number[shard.path.name] = len(shards)
                shards.append(shard)
            new_number[old] = number[shard.path.name]
        columns.append((new_number[of_view.shard_of], of_view.row_of.astype(np.uint32)))
    return shards, columns


def encoded_column(manifest: Manifest, name: str) -> np.ndarray:
    """A column of a manifest as `encoded_texts` writes it."""
    import pyarrow.compute as pc

    if name == "item_id":
        ids = manifest.item_ids
        width = pc.max(pc.binary_length(ids)).as_py() or 1
        padded = pc.ascii_rpad(ids, width, "\0").buffers()[2]  # by bytes, whatever they stand for
        return np.frombuffer(padded or b"", h5py.string_dtype("utf-8", width), len(manifest))
    codes, values = manifest.codes(name)
    used = np.flatnonzero(np.bincount(codes, minlength=len(values)))
    positions = np.zeros(len(values), np.int64)
    positions[used] = np.arange(len(used))
    column: np.ndarray = encoded_texts([values[code] for code in used.tolist()])[positions[codes]]
    return column


def view_groups(views: Sequence[str]) -> list[str]:
    """The HDF5 groups with each view's columns and features, `/` at their ends: the first view's are at the top."""
    return ["", *(f"views/{view}/" for view in views[1:])]


def column_names(views: Sequence[str], *, grouped: bool) -> list[str]:
    """The columns of an index with these views."""
    locations = [f"{group}{column}" for group in view_groups(views) for column in ("shard", "row")]
    return [*COLUMNS, *([GROUP] if grouped else []), *locations]


def in_requested_order(outputs: Sequence[str], requested: Sequence[str]) -> tuple[str, ...]:
    """Outputs in the order in which extraction was asked for them; HDF5 lists them by name."""
    return tuple(sorted(outputs, key=lambda name: requested.index(name) if name in requested else len(requested)))


def shard_entry(entry: dict[str, Any]) -> ShardEntry:
    """A shard's entry from its JSON."""
    arrays = {
        output: ArrayLocation(array["dtype"], tuple(array["shape"]), array["offset_bytes"])
        for output, array in entry["arrays"].items()
    }
    return ShardEntry(entry["name"], entry["bytes"], entry["rows"], arrays)


def checked_column(file: h5py.File, column: str, digests: Mapping[str, str]) -> np.ndarray:
    """A column. Raises IceboxError where its sha256 is not the one that was written."""
    values: np.ndarray = file[column][:]
    if sha256_of_column(values) != digests[column]:
        raise broken_index(Path(file.filename), f"one whose column {column} is not what was written")
    return values


def decoded_texts(column: np.ndarray) -> np.ndarray:
    """A column of UTF-8 bytes as str objects; of few distinct ones each is decoded once."""
    texts, decoded = np.empty(len(column), object), dict[bytes, str]()
    for start in range(0, len(column), DECODED_AT_ONCE):
        raw = column[start : start + DECODED_AT_ONCE].tolist()
        if len(decoded) > DECODED_AT_ONCE:  # ids, say: to remember them costs more than it saves
            decoded = {}
        decoded |= {value: value.decode("utf-8", "surrogateescape") for value in set(raw) - decoded.keys()}
        texts[start : start + DECODED_AT_ONCE] = [decoded[value] for value in raw]
    return texts


def encoded_texts(texts: Sequence[str]) -> np.ndarray:
    """Texts as a column of fixed-width UTF-8: variable-width ones lie in a heap whose bytes are not reproducible."""
    width = max((len(text.encode("utf-8", "surrogateescape")) for text in texts), default=1) or 1
    encoded = np.empty(len(texts), h5py.string_dtype("utf-8", width))
    for i, text in enumerate(texts):
        encoded[i] = text.encode("utf-8", "surrogateescape")
    return encoded


def sha256_of_column(values: np.ndarray) -> str:
    """sha256 (hex) of a column, its type and shape."""
    digest = hashlib.sha256(f"{values.dtype.str}{values.shape}".encode())
    digest.update(values.tobytes())
    return digest.hexdigest()


def sha256_of_text(text: str) -> str:
    """sha256 (hex) of the attribute `index`."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
