"""JoinedStore: several stores side by side, their rows joined by item, read as one FeatureStore.

A folder with `join.h5` alone: features stay where they are, in the members' folders. It has `item_id`, `label`,
`split`, `group` (n,) and `row/MEMBER` (n,), where each item lies in the member's order; virtual datasets
`features/MEMBER/OUTPUT` show plain h5py all rows of each member's first view. Attribute `join` is JSON: `members`, in
order, each with its folder as seen from here, its fingerprint, its outputs and the sha256 of its index, so that a
member which has changed since is told; and `columns`, the sha256 of each. `sha256` is that of `join`.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from icebox.features import files, fingerprint
from icebox.features.errors import IceboxError, cause, suggestion
from icebox.features.ragged import Ragged
from icebox.features.splits import SPLITS, in_order
from icebox.features.store import hdf5, index
from icebox.features.store.feature_store import FeatureStore
from icebox.features.text.pairs import PAIR, TEXTS

FILE = "join.h5"
ROW = "row/"  # before a member's name: the column of its positions
Block = tuple[int, int]  # first column, and last + 1


@dataclass(frozen=True)
class MemberEntry:
    """A member's name, its folder as seen from the joined store's, its fingerprint, the sha256 of its index, and those
    of its outputs that are joined."""

    name: str
    folder: str
    fingerprint: str
    digest: str
    outputs: list[str]


class JoinedStore(FeatureStore):
    """Features of several stores side by side, in the first one's order and with its labels, splits and groups.

    An output is called MEMBER/OUTPUT. A view is taken from each member that has it, others show their default one.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        entries, columns = read(self.folder)
        self.members = {entry.name: self._member(entry) for entry in entries}
        for entry in entries:
            if self.members[entry.name].digest != entry.digest:
                raise broken(self.folder, f"'{entry.name}', which it is joined of, changed since")
        self._positions = {name: columns[f"{ROW}{name}"] for name in self.members}
        self.item_ids, self.labels, self.splits, self.groups = (
            index.decoded_texts(columns[name]) for name in (*index.COLUMNS, index.GROUP)
        )
        self.outputs = tuple(f"{entry.name}/{output}" for entry in entries for output in entry.outputs)
        self.views = tuple(dict.fromkeys(view for store in self.members.values() for view in store.views))
        self.default_view = next(iter(self.members.values())).default_view
        self.fingerprint = fingerprint.of_settings([[entry.name, entry.fingerprint] for entry in entries])
        self.spec = {name: store.spec for name, store in self.members.items()}
        self.skipped, self.odd = (
            {f"{name}/{item_id}": text for name, store in self.members.items() for item_id, text in of(store).items()}
            for of in (lambda store: store.skipped, lambda store: store.odd)
        )

    def _member(self, entry: MemberEntry) -> FeatureStore:
        folder = Path(os.path.normpath(self.folder / entry.folder))
        if not files.exists(folder / index.FILE):
            raise IceboxError(
                f"{folder}: this store, of which '{self.folder.name}' is joined, is not here",
                hint="extract or restore",
                store=entry.name,
            )
        return FeatureStore(folder)

    def __len__(self) -> int:
        return len(self.item_ids)

    @property
    def digest(self) -> str:
        """The sha256 of all that it holds, the members included."""
        with h5py.File(self.folder / FILE) as file:
            return str(file.attrs["sha256"].decode())

    def load_of_length_1(
        self, items: np.ndarray, *, outputs: Sequence[str] | None = None, view: str | None = None
    ) -> np.ndarray:
        """Features (len(items), d) float32, those of each member with length 1: the cosine of two items is then the
        mean of the members'."""
        outputs, view = outputs or self.outputs, view or self.default_view
        features = self.load_items(items, outputs=outputs, view=view).astype(np.float32)
        for start, end in self.blocks(outputs, view):
            lengths = np.linalg.norm(features[:, start:end], axis=1, keepdims=True)
            features[:, start:end] /= np.maximum(lengths, 1e-12)
        return features

    def items(self, split: str | None = None) -> np.ndarray:
        """Positions (n,) of one split's items, or of all."""
        if split is None:
            return np.arange(len(self))
        items = np.flatnonzero(self.splits == split)
        if not len(items) and split not in SPLITS:
            known = in_order([*SPLITS, *np.unique(self.splits).tolist()])
            raise IceboxError(f"{self.folder}: no split '{split}'; {suggestion(split, known)}")
        return items

    def load_items(
        self, items: np.ndarray, *, outputs: Sequence[str] | None = None, view: str | None = None
    ) -> np.ndarray:
        """Features (len(items), d) of the items at these positions, each output flattened."""
        parts = []
        for name, output in map(self._located_output, outputs or self.outputs):
            shown = self.view_of(name, view)
            parts.append(self.members[name].load_items(self._positions[name][items], outputs=[output], view=shown))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def rows(self, items: np.ndarray, output: str, *, view: str | None = None) -> np.ndarray:
        """Features (len(items), …) of one output; flat where the member shows pairs."""
        name, of_member = self._located_output(output)
        if self.view_of(name, view) == PAIR:
            return self.load_items(items, outputs=[output], view=view)
        return self.members[name].rows(self._positions[name][items], of_member, view=self.view_of(name, view))

    def ragged_rows(self, items: np.ndarray, output: str, *, view: str | None = None) -> Ragged:
        """Tokens' vectors of the items at these positions, in their order."""
        name, of_member = self._located_output(output)
        return self.members[name].ragged_rows(self._positions[name][items], of_member, view=self.view_of(name, view))

    def token_counts(self, items: np.ndarray, output: str, *, view: str | None = None) -> np.ndarray:
        """The number of vectors (len(items),) of each item."""
        name, of_member = self._located_output(output)
        return self.members[name].token_counts(self._positions[name][items], of_member, view=self.view_of(name, view))

    def column_ranges(self, outputs: Sequence[str], view: str) -> dict[str, list[Block]]:
        """The columns of each output in `load_items`."""
        ranges, start = {}, 0
        for output in outputs:
            width = self.load_items(np.arange(1), outputs=[output], view=view).shape[1]
            ranges[output] = [(start, start + width)]
            start += width
        return ranges

    def blocks(self, outputs: Sequence[str], view: str) -> list[Block]:
        """The columns of each member in `load_items`: of its outputs that stand beside each other."""
        ends = [end for [(_, end)] in self.column_ranges(outputs, view).values()]
        counts = [len(of_member) for _, of_member in self.outputs_by_member(outputs)]
        edges = [0, *(ends[last - 1] for last in accumulate(counts))]
        return list(pairwise(edges))

    def is_ragged(self, output: str) -> bool:
        """Whether an output has a vector a token."""
        name, of_member = self._located_output(output)
        return self.members[name].is_ragged(of_member)

    def release(self) -> None:
        """Close the members' memory maps."""
        for store in self.members.values():
            store.release()

    def row_shape(self, output: str) -> tuple[int, ...]:
        """The shape of one item's feature, or of a token's."""
        name, of_member = self._located_output(output)
        return self.members[name].row_shape(of_member)

    def dtype(self, output: str) -> np.dtype[Any]:
        """The dtype of an output's features."""
        name, of_member = self._located_output(output)
        return self.members[name].dtype(of_member)

    def positions(self, member: str) -> np.ndarray:
        """Where each item (n,) lies in a member's order."""
        return self._positions[member]

    def outputs_by_member(self, outputs: Sequence[str]) -> list[tuple[str, list[str]]]:
        """Runs of outputs of one member: its name, and what these are called there."""
        located = map(self._located_output, outputs)
        return [(name, [each for _, each in run]) for name, run in groupby(located, key=lambda pair: pair[0])]

    def _located_output(self, output: str) -> tuple[str, str]:
        """The member, and the name that the output has there."""
        if output not in self.outputs:
            raise IceboxError(f"{self.folder}: no output '{output}'; {suggestion(output, list(self.outputs))}")
        name, _, of_member = output.partition("/")
        return name, of_member

    def view_of(self, name: str, view: str | None) -> str:
        """The view that a member shows for this one: its own default where it has none of that name."""
        store = self.members[name]
        if view is not None and view not in (*self.views, PAIR):
            raise IceboxError(f"{self.folder}: no view '{view}'; known: {', '.join(self.views)}")
        has_view = view in store.views or (view == PAIR and store.views == TEXTS)
        return view if view is not None and has_view else store.default_view


def open_store(folder: Path | str) -> FeatureStore:
    """The store in this folder, a joined one or any other."""
    return JoinedStore(folder) if is_joined(Path(folder)) else FeatureStore(folder)


def is_joined(folder: Path) -> bool:
    """Whether a finished joined store lies there."""
    return files.exists(folder / FILE)


def read(folder: Path) -> tuple[list[MemberEntry], Mapping[str, np.ndarray]]:
    """The members, and the columns. Raises IceboxError where join.h5 is damaged, or another version's."""
    path = folder / FILE
    try:
        with h5py.File(path) as file:
            text = file.attrs["join"].decode()
            if file.attrs["sha256"].decode() != index.sha256_of_text(text):
                raise broken(folder, "one whose attributes are not what was written")
            attributes = json.loads(text)
            columns = {name: file[name][:] for name in attributes["columns"]}
        entries = [MemberEntry(**entry) for entry in attributes["members"]]
    except hdf5.BROKEN as reason:
        raise broken(folder, f"one of another version, or damaged ({cause(reason)})") from reason
    for name, digest in attributes["columns"].items():
        if index.sha256_of_column(columns[name]) != digest:
            raise broken(folder, f"one whose column {name} is not what was written")
    return entries, columns


def broken(folder: Path, problem: str) -> IceboxError:
    """The error for a joined store that can't be used."""
    return IceboxError(f"{folder / FILE}: expected a joined store, found {problem}", hint="join", store=folder.name)
