"""A store's features and labels by split, as heads take them."""

from dataclasses import dataclass

import numpy as np

from features import fingerprint
from features.errors import IceboxError
from features.store import FeatureStore


@dataclass(frozen=True)
class Part:
    """One split: item ids (n,), features (n, d) float32, class numbers (n,)."""

    item_ids: np.ndarray
    features: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Labelled:
    """All splits of a store; `classes[i]` is the name of class number i."""

    classes: list[str]
    train: Part
    val: Part
    test: Part


def read(store: FeatureStore, *, labels_per_class: int | None, seed: int) -> Labelled:
    """Load every split. With `labels_per_class`, train and val keep that many items of each class.

    val is cut too: a head chosen with hundreds of labels is not one that saw five a class. test stays whole.
    Raises IceboxError where a split is empty, there is one class only, or train lacks a class that others have.
    """
    train = np.flatnonzero(store.splits == "train")
    classes = sorted(set(store.labels[train].tolist()))
    if len(classes) < 2:
        raise IceboxError(f"{store.folder}: expected at least two classes in train, found {len(classes)}")
    number = {name: i for i, name in enumerate(classes)}
    if unknown := sorted(set(store.labels.tolist()) - set(classes)):
        raise IceboxError(
            f"{store.folder}: expected every class to have items in train, found none of {', '.join(unknown[:5])}; "
            "give the dataset other split fractions, or more items"
        )

    def part(split: str) -> Part:
        items = np.flatnonzero(store.splits == split)
        if labels_per_class is not None and split != "test":
            items = few(store, items, labels_per_class, seed)
        if len(items) == 0:
            raise IceboxError(
                f"{store.folder}: expected items in {split}, found none; raise the dataset's split.{split}"
            )
        features = store.load_items(items).astype(np.float32, copy=False)
        return Part(store.item_ids[items], features, np.array([number[name] for name in store.labels[items]]))

    return Labelled(classes, part("train"), part("val"), part("test"))


def few(store: FeatureStore, items: np.ndarray, per_class: int, seed: int) -> np.ndarray:
    """The `per_class` items of each class that come first in an order drawn from the seed and their ids."""
    drawn = sorted(items, key=lambda i: fingerprint.of_content(f"{seed}:{store.item_ids[i]}"))
    kept: dict[str, list[int]] = {}
    for i in drawn:
        chosen = kept.setdefault(str(store.labels[i]), [])
        if len(chosen) < per_class:
            chosen.append(int(i))
    return np.array(sorted(i for chosen in kept.values() for i in chosen), dtype=np.int64)
