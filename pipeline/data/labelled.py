"""A store's features and labels by split, as heads take them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from icebox.features import fingerprint
from icebox.features.errors import IceboxError
from icebox.features.manifest.validation import Task
from icebox.features.splits import in_order
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.data import feature_selection
from icebox.pipeline.data.on_disk import Rows, too_large


@dataclass(frozen=True)
class Part:
    """One split: item ids (n,), features (n, d) float32, labels (n,): class numbers, or a regression's values; and the
    groups (n,) of items that must not be torn apart: an item without one is its own.

    Train holds an item once in each of the views that heads see.
    """

    item_ids: np.ndarray
    features: np.ndarray | Rows
    labels: np.ndarray
    groups: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> "Part":
        """The items at these positions."""
        features = self.features.take(rows) if isinstance(self.features, Rows) else self.features[rows]
        return Part(self.item_ids[rows], features, self.labels[rows], self.groups[rows])


@dataclass(frozen=True)
class Labelled:
    """A store by split: train, perhaps val, test, and further test sets; `classes[i]` is the name of class number i.

    A regression has no classes.
    """

    classes: list[str]
    parts: Mapping[str, Part]
    task: Task = "classification"

    @property
    def train(self) -> Part:
        """What heads are fitted on."""
        return self.parts["train"]

    @property
    def val(self) -> Part | None:
        """What their settings are chosen on, where there is one."""
        return self.parts.get("val")

    @cached_property
    def train_and_val(self) -> Part:
        """Both as one."""
        return self.train if self.val is None else joined(self.train, self.val)

    @property
    def tests(self) -> dict[str, Part]:
        """What the chosen ones are scored on: test, and further test sets."""
        return {split: part for split, part in self.parts.items() if split.startswith("test")}


def joined(one: Part, other: Part) -> Part:
    """The items of both."""
    return Part(
        np.concatenate([one.item_ids, other.item_ids]),
        beside(one.features, other.features),
        np.concatenate([one.labels, other.labels]),
        np.concatenate([one.groups, other.groups]),
    )


def beside(one: np.ndarray | Rows, other: np.ndarray | Rows) -> np.ndarray | Rows:
    """The features of both, in memory or on disk as they were."""
    if isinstance(one, Rows) and isinstance(other, Rows):
        return replace(one, items=np.concatenate([one.items, other.items]))
    return np.concatenate([one, other])


def read(
    store: FeatureStore, *, task: Task = "classification", seen: feature_selection.Sight | None = None
) -> Labelled:
    """Load what heads see of every split; what is too large for that stays on disk (`icebox.pipeline.data.on_disk`).

    Raises IceboxError where train or test is empty, there is one class only, or train lacks a class that others have.
    """
    seen = seen or feature_selection.of(store)
    labels, classes = values(store) if task == "regression" else numbered(store)
    on_disk = len(seen.views) == 1 and too_large(store, len(store), seen)
    parts = {}
    for split in in_order(store.splits):
        items = store.items(split)
        features = Rows(store, items, seen) if on_disk else seen.load(store, items, every_view=split == "train")
        items = np.tile(items, len(features) // len(items))
        parts[split] = Part(store.item_ids[items], features, labels[items], groups_of(store)[items])
    for split in ("train", "test"):
        if split not in parts:
            raise IceboxError(f"{store.folder}: expected items in {split}, found none; change the dataset's split")
    return Labelled(classes, parts, task)


def numbered(store: FeatureStore) -> tuple[np.ndarray, list[str]]:
    """The items' class numbers (n,), and the classes' names."""
    classes = sorted(set(store.labels[store.items("train")].tolist()))
    if len(classes) < 2:
        raise IceboxError(f"{store.folder}: expected at least two classes in train, found {len(classes)}")
    if unknown := sorted(set(store.labels.tolist()) - set(classes)):
        raise IceboxError(
            f"{store.folder}: expected every class to have items in train, found none of {', '.join(unknown[:5])}; "
            "give the dataset other split fractions, or more items"
        )
    number = {name: i for i, name in enumerate(classes)}
    return np.array([number[name] for name in store.labels]), classes


def values(store: FeatureStore) -> tuple[np.ndarray, list[str]]:
    """The items' labels as numbers (n,) float64, and no classes."""
    try:
        return store.labels.astype(np.float64), []
    except ValueError as reason:
        raise IceboxError(f"{store.folder}: expected labels that are numbers (task: regression): {reason}") from None


def groups_of(store: FeatureStore) -> np.ndarray:
    """Each item's group (n,), or its own id where it has none: its views, at least, belong together."""
    return np.where(store.groups == "", store.item_ids, store.groups)


def few(data: Labelled, per_class: int, *, seed: int) -> Labelled:
    """The same with at most `per_class` items of each class in train, and as many in val.

    val is cut too: a head chosen with hundreds of labels is not one that saw five a class. Tests stay whole.
    """
    cut = {
        split: part.take(first_of_each(part, per_class, seed)) if split in ("train", "val") else part
        for split, part in data.parts.items()
    }
    return replace(data, parts=cut)


def first_of_each(part: Part, per_class: int, seed: int) -> np.ndarray:
    """Positions of `per_class` items of each class, those that come first in an order drawn from seed and ids."""
    class_of = dict(zip(part.item_ids, part.labels, strict=True))
    kept: dict[int, list[str]] = {}
    for item_id in sorted(class_of, key=lambda item_id: fingerprint.of_content(f"{seed}:{item_id}")):
        chosen = kept.setdefault(class_of[item_id], [])
        if len(chosen) < per_class:
            chosen.append(item_id)
    return np.flatnonzero(np.isin(part.item_ids, [item_id for chosen in kept.values() for item_id in chosen]))
