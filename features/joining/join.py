"""Join two finished stores by item, without computing or copying a feature."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import h5py
import numpy as np

from icebox.features import files
from icebox.features.errors import IceboxError
from icebox.features.fingerprint import canonical_json
from icebox.features.joining.joined_store import FILE, ROW, JoinedStore, MemberEntry, open_store
from icebox.features.names import canonical_name, in_line
from icebox.features.store import hdf5, index, virtual_datasets
from icebox.features.store.feature_store import FeatureStore

Missing = Literal["error", "drop"]


@dataclass
class Joined:
    """`items` that were joined; of the first store `left_out`, which the other lacks, and of the other `unused`, which
    the first lacks; how many have `other_splits` in the second, and `crossing` groups of it lie on two sides."""

    items: int
    left_out: int = 0
    unused: int = 0
    other_splits: int = 0
    crossing: int = 0
    examples: dict[str, str] = field(default_factory=dict)  # an item's id for each of these that is not 0


@dataclass(frozen=True)
class Member:
    """A store without members of its own, and where each joined item (n,) lies in it."""

    store: FeatureStore
    positions: np.ndarray
    outputs: list[str]


def join(
    target: Path,
    folders: Mapping[str, Path],
    *,
    outputs: Mapping[str, Sequence[str] | None] | None = None,
    missing: Missing = "error",
) -> Joined:
    """Write the joined store `target` of two stores by their names, either of which may be a joined one. Of a store it
    holds the `outputs` that stand under its name; else all that have one vector an item.

    Items are known by their ids. Order, labels, splits and groups are the first store's. Raises IceboxError for items
    that the other lacks (unless `missing` is drop), for other labels of an item, and for a store that is in both.
    """
    (first_name, first), (other_name, other) = ((name, open_store(folder)) for name, folder in folders.items())
    position = {item_id: i for i, item_id in enumerate(other.item_ids.tolist())}
    found = np.array([position.get(item_id, -1) for item_id in first.item_ids.tolist()], np.int64)
    kept = np.flatnonzero(found >= 0)
    if not len(kept):
        raise IceboxError(
            f"'{first_name}' and '{other_name}' have no item in common: ids are such as "
            f"'{in_line(str(first.item_ids[0]))}' and '{in_line(str(other.item_ids[0]))}'; give both datasets one "
            "column of ids"
        )
    lacking = np.flatnonzero(found < 0)
    if len(lacking) and missing == "error":
        raise IceboxError(
            f"'{other_name}' lacks {len(lacking):,} of the {len(first):,} items of '{first_name}', the first "
            f"'{in_line(str(first.item_ids[lacking[0]]))}'; add them, or leave them out of both with missing: drop"
        )
    in_other = found[kept]
    refuse_other_labels(first, other, kept, in_other, (first_name, other_name))
    account = Joined(len(kept), left_out=len(lacking), unused=len(other) - len(kept))
    if len(lacking):
        account.examples["left_out"] = str(first.item_ids[lacking[0]])
    differ = np.flatnonzero(first.splits[kept] != other.splits[in_other])
    account.other_splits = len(differ)
    if len(differ):
        account.examples["other_splits"] = str(first.item_ids[kept[differ[0]]])
        groups = other.groups[in_other]
        account.crossing, account.examples["crossing"] = crossing_groups(groups, first.splits[kept])
    members = leaves(first, first_name, kept, outputs or {})
    for name, member in leaves(other, other_name, in_other, outputs or {}).items():
        if name in members:
            raise IceboxError(f"'{name}' is in both '{first_name}' and '{other_name}'; join it once")
        members[name] = member
    write(target, members, first, kept)
    return account


def refuse_other_labels(
    first: FeatureStore, other: FeatureStore, kept: np.ndarray, in_other: np.ndarray, names: tuple[str, str]
) -> None:
    """Raise IceboxError where an item has another label in the other store, in whatever spelling; "" is none."""
    pairs = list(zip(first.labels[kept].tolist(), other.labels[in_other].tolist(), strict=True))
    differ = [i for i, (a, b) in enumerate(pairs) if a != b and b != "" and canonical_name(a) != canonical_name(b)]
    if differ:
        a, b = pairs[differ[0]]
        raise IceboxError(
            f"{len(differ):,} of {len(kept):,} items have another label in '{names[1]}' than in '{names[0]}', the "
            f"first '{in_line(str(first.item_ids[kept[differ[0]]]))}' ({in_line(b)}, not {in_line(a)}); correct one of "
            "them, or give both datasets the same column of labels"
        )


def crossing_groups(groups: np.ndarray, splits: np.ndarray) -> tuple[int, str]:
    """How many groups (n,), but "", have items in several splits (n,), and one of them."""
    sides: dict[str, set[str]] = {}
    for group, split in zip(groups.tolist(), splits.tolist(), strict=True):
        if group:
            sides.setdefault(group, set()).add(split)
    crossing = [group for group, of_group in sides.items() if len(of_group) > 1]
    return len(crossing), crossing[0] if crossing else ""


def leaves(
    store: FeatureStore, name: str, items: np.ndarray, outputs: Mapping[str, Sequence[str] | None]
) -> dict[str, Member]:
    """A store as one member, or the members of a joined one, at these positions of its items."""
    if not isinstance(store, JoinedStore):
        per_item = [output for output in store.outputs if not store.is_ragged(output)]
        named = list(outputs.get(name) or per_item)
        if ragged := [output for output in named or store.outputs if store.is_ragged(output)]:
            raise IceboxError(
                f"'{name}': output '{ragged[0]}' has a vector a token, and rows that are joined have one an item; name "
                f"others, or store one such as {ragged[0].partition(':')[0]}:mean"
            )
        return {name: Member(store, items, named)}
    return {
        each: Member(store.members[each], store.positions(each)[items], of_member)
        for each, of_member in store.outputs_by_member(store.outputs)
    }


def write(target: Path, members: Mapping[str, Member], first: FeatureStore, kept: np.ndarray) -> None:
    """Write the folder of a joined store."""
    folders = {name: os.path.relpath(member.store.folder, target) for name, member in members.items()}
    entries = [
        MemberEntry(name, folders[name], member.store.fingerprint, member.store.digest, member.outputs)
        for name, member in members.items()
    ]
    columns = {
        "item_id": first.item_ids, "label": first.labels, "split": first.splits, index.GROUP: first.groups
    }  # fmt: skip
    with files.replacing(target / FILE) as temporary, hdf5.created(temporary) as file:
        for column, values in columns.items():
            file[column] = index.encoded_texts(values[kept].tolist())
        for name, member in members.items():
            file[f"{ROW}{name}"] = member.positions.astype(np.uint32)
            for output in member.outputs:
                file.create_virtual_dataset(
                    f"features/{name}/{output}", layout(folders[name], member, output), fillvalue=np.nan
                )
        names = [*columns, *(f"{ROW}{name}" for name in members)]
        text = canonical_json(
            {
                "members": [asdict(entry) for entry in entries],
                "columns": {name: index.sha256_of_column(file[name][:]) for name in names},
            }
        )
        # of fixed width: texts of variable width lie in a heap, in which HDF5 loses itself where the file is damaged
        file.attrs["join"] = np.bytes_(text.encode())
        file.attrs["sha256"] = np.bytes_(index.sha256_of_text(text).encode())


def layout(folder: str, member: Member, output: str) -> h5py.VirtualLayout:
    """The rows of a member's output in the joined order, over the virtual dataset of its own index."""
    dtype, shape = member.store.dtype(output), member.store.row_shape(output)
    made = h5py.VirtualLayout(shape=(len(member.positions), *shape), dtype=dtype)
    made.dcpl.set_obj_track_times(False)
    source = h5py.VirtualSource(f"{folder}/{index.FILE}", f"features/{output}", (len(member.store), *shape), dtype)
    of_one = np.zeros(len(member.positions), np.int64)
    for start, stop in virtual_datasets.runs(of_one, member.positions, member.positions + 1):
        made[start:stop] = source[int(member.positions[start]) : int(member.positions[stop - 1]) + 1]
    return made
