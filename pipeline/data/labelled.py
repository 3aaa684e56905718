"""A store's features and labels by split, in the form in which heads are fitted and scored."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from icebox.features import fingerprint, label_sets
from icebox.features.errors import IceboxError
from icebox.features.manifest.validation import Task
from icebox.features.nn.output_names import is_map
from icebox.features.splits import in_order
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.data import feature_selection
from icebox.pipeline.data.feature_selection import FeatureSelection
from icebox.pipeline.data.on_disk import DiskFeatures, exceeds_memory


@dataclass(frozen=True)
class LabelledSplit:
    """One split: item ids (n,), features (n, d) float32, labels (n,): class numbers, or a regression's values, or
    (n, k) of 0 and 1 where items have sets of labels; and the
    groups (n,) of items that must stay in one fold: an item without a group is its own.

    Train holds an item once in each of the selected views.
    """

    item_ids: np.ndarray
    features: np.ndarray | DiskFeatures
    labels: np.ndarray
    groups: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def is_constant(self) -> bool:
        """Whether several items in memory all have the same features."""
        if isinstance(self.features, DiskFeatures) or len(self.features) < 2:
            return False
        first = self.features[0]
        return bool((self.features[-1] == first).all() and (self.features == first).all())

    def take(self, rows: np.ndarray) -> "LabelledSplit":
        """The items at these positions."""
        on_disk = isinstance(self.features, DiskFeatures)
        features = self.features.take(rows) if on_disk else self.features[rows]
        return LabelledSplit(self.item_ids[rows], features, self.labels[rows], self.groups[rows])


@dataclass(frozen=True)
class LabelledData:
    """A store by split: train, perhaps val, test, and further test sets; `classes[i]` is the name of class number i.

    A regression has no classes.
    """

    classes: list[str]
    splits: Mapping[str, LabelledSplit]
    task: Task = "classification"

    @property
    def train(self) -> LabelledSplit:
        """The split that heads are fitted on."""
        return self.splits["train"]

    @property
    def val(self) -> LabelledSplit | None:
        """The split that candidates are chosen on, where there is one."""
        return self.splits.get("val")

    @cached_property
    def train_and_val(self) -> LabelledSplit:
        """Both as one."""
        return self.train if self.val is None else concatenate(self.train, self.val)

    @property
    def tests(self) -> dict[str, LabelledSplit]:
        """The splits that chosen heads are scored on: test, and further test sets."""
        return {name: split for name, split in self.splits.items() if name.startswith("test")}


def concatenate(first: LabelledSplit, second: LabelledSplit) -> LabelledSplit:
    """The items of both."""
    return LabelledSplit(
        np.concatenate([first.item_ids, second.item_ids]),
        concatenate_features(first.features, second.features),
        np.concatenate([first.labels, second.labels]),
        np.concatenate([first.groups, second.groups]),
    )


def concatenate_features(
    first: np.ndarray | DiskFeatures, second: np.ndarray | DiskFeatures
) -> np.ndarray | DiskFeatures:
    """The features of both, in memory or on disk as they were."""
    if isinstance(first, DiskFeatures) and isinstance(second, DiskFeatures):
        return replace(first, items=np.concatenate([first.items, second.items]))
    return np.concatenate([first, second])


def load(
    store: FeatureStore,
    *,
    task: Task = "classification",
    selection: FeatureSelection | None = None,
    leave_out: np.ndarray | None = None,
    streams: bool = False,
) -> LabelledData:
    """Load the selected features of every split; too large for memory, or large and for a head that `streams`, they
    stay on disk (`pipeline.data.on_disk`). Items at the positions `leave_out` are in no split.

    Raises IceboxError where train or test is empty, there is one class only, or train lacks a class that others have.
    """
    leave_out = np.empty(0, np.int64) if leave_out is None else leave_out
    selection = selection or feature_selection.select(store)
    refuse_maps(store, selection)
    labels, classes = LABELS[task](store)
    groups = item_groups(store)
    on_disk = len(selection.views) == 1 and exceeds_memory(store, len(store), selection, streams=streams)
    splits = {}
    for name in in_order(store.splits):
        items = store.items(name)
        if len(leave_out):
            items = np.setdiff1d(items, leave_out, assume_unique=True)
            if not len(items):
                continue
        features = (
            DiskFeatures(store, items, selection)
            if on_disk
            else selection.load(store, items, every_view=name == "train")
        )
        items = np.tile(items, len(features) // len(items))
        splits[name] = LabelledSplit(store.item_ids[items], features, labels[items], groups[items])
    for name in ("train", "test"):
        if name not in splits:
            raise IceboxError(f"{store.folder}: expected items in {name}, found none; change the dataset's split")
    if len(leave_out) and (absent := absent_classes(splits["train"].labels, len(classes))).size:
        names = ", ".join(classes[i] for i in absent[:5].tolist())
        raise IceboxError(
            f"{store.folder}: leakage: near leaves no item of {names} in train: all have near-duplicates in val or test"
        )
    return LabelledData(classes, splits, task)


def refuse_maps(store: FeatureStore, selection: FeatureSelection) -> None:
    """Raise IceboxError where an output keeps a vector for each position: a head for labels takes one an item."""
    for output in selection.outputs:
        if is_map(output):
            shape = "×".join(map(str, store.row_shape(output)))
            raise IceboxError(
                f"{store.folder}: output '{output}' is a map ({shape}) for masks and boxes; heads for labels take one "
                f"vector an item: name others in `input: {{outputs: […]}}`, such as {output.partition(':')[0]}:avg"
            )


def class_labels(store: FeatureStore) -> tuple[np.ndarray, list[str]]:
    """The items' class numbers (n,), and the classes' names."""
    classes = sorted(set(store.labels[store.items("train")].tolist()))
    if len(classes) < 2:
        raise IceboxError(
            f"{store.folder}: expected at least two classes in train, found {', '.join(classes) or 'no items'}; "
            "move items of another into it, or change the dataset's split"
        )
    if unknown := sorted(set(store.labels.tolist()) - set(classes)):
        raise IceboxError(
            f"{store.folder}: expected every class to have items in train, found none of {', '.join(unknown[:5])}; "
            "leave their rows out or move some into train; where splits are drawn, try split.stratify"
        )
    number = {name: i for i, name in enumerate(classes)}
    return np.array([number[name] for name in store.labels]), classes


def regression_labels(store: FeatureStore) -> tuple[np.ndarray, list[str]]:
    """The items' labels as numbers (n,) float64, and no classes."""
    try:
        return store.labels.astype(np.float64), []
    except ValueError as reason:
        raise IceboxError(f"{store.folder}: expected labels that are numbers (task: regression): {reason}") from None


def set_labels(store: FeatureStore) -> tuple[np.ndarray, list[str]]:
    """Which of k labels each item has (n, k) int8, and their names."""
    sets = [label_sets.split(label) for label in store.labels.tolist()]
    names = label_sets.names_of(store.labels[store.items("train")].tolist())
    if len(names) < 2:
        raise IceboxError(
            f"{store.folder}: expected two labels or more in train (task: multilabel), found "
            f"{', '.join(names) or 'none'}; one label is a classification of two classes"
        )
    if unknown := sorted({name for each in sets for name in each} - set(names)):
        raise IceboxError(
            f"{store.folder}: expected every label to have items in train, found none of {', '.join(unknown[:5])}; "
            "take them out by drop_labels, or move items into train; where splits are drawn, try split.stratify"
        )
    number = {name: i for i, name in enumerate(names)}
    labels = np.zeros((len(sets), len(names)), np.int8)
    for row, each in zip(labels, sets, strict=True):
        row[[number[name] for name in each]] = 1
    return labels, names


def absent_classes(labels: np.ndarray, classes: int) -> np.ndarray:
    """The numbers of the classes that no item has; none of a regression."""
    if labels.ndim == 2:
        return np.flatnonzero(~labels.any(axis=0))
    return np.setdiff1d(np.arange(classes), labels)


LABELS = {
    "classification": class_labels,
    "regression": regression_labels,
    "multilabel": set_labels,
    "segmentation": class_labels,
    "detection": class_labels,
}  # by task


def item_groups(store: FeatureStore) -> np.ndarray:
    """Each item's group (n,), or its own id where it has none: its views, at least, belong together."""
    return np.where(store.groups == "", store.item_ids, store.groups)


def subsample_per_class(data: LabelledData, per_class: int, *, seed: int) -> LabelledData:
    """At most `per_class` items of each class in train, and as many in val; test sets stay complete.

    val is reduced too: a head chosen with hundreds of labels is not one that saw five a class.
    """
    splits = {
        name: split.take(positions_per_class(split, per_class, seed)) if name in ("train", "val") else split
        for name, split in data.splits.items()
    }
    return replace(data, splits=splits)


def positions_per_class(split: LabelledSplit, per_class: int, seed: int) -> np.ndarray:
    """Positions of `per_class` items of each class, the first ones in an order drawn from seed and ids."""
    if split.labels.ndim == 2:
        return positions_per_label(split, per_class, seed)
    class_of = dict(zip(split.item_ids, split.labels, strict=True))
    ids_of: dict[int, list[str]] = {}
    for item_id in sorted(class_of, key=lambda item_id: fingerprint.of_content(f"{seed}:{item_id}")):
        ids = ids_of.setdefault(class_of[item_id], [])
        if len(ids) < per_class:
            ids.append(item_id)
    return np.flatnonzero(np.isin(split.item_ids, [item_id for ids in ids_of.values() for item_id in ids]))


def positions_per_label(split: LabelledSplit, per_class: int, seed: int) -> np.ndarray:
    """Positions of items with sets of labels, in such an order each that has a label of which fewer than `per_class`
    were taken; of items without a label, as many again."""
    set_of = dict(zip(split.item_ids, split.labels, strict=True))
    counts, empty, taken = np.zeros(split.labels.shape[1], int), 0, []
    for item_id in sorted(set_of, key=lambda item_id: fingerprint.of_content(f"{seed}:{item_id}")):
        labels = set_of[item_id].astype(bool)
        if (counts[labels] < per_class).any() if labels.any() else empty < per_class:
            taken.append(item_id)
            counts += labels
            empty += not labels.any()
    return np.flatnonzero(np.isin(split.item_ids, taken))
