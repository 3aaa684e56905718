"""Explore a store: a map of the test items, each one's nearest train items, near-duplicates, suspected label errors.

It depends on the store alone, not on any head, and takes seconds: it is a stage of its own, so that the report need not
do it again. `results.py` reads the document that is put together here.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from icebox.features.joining.joined_store import JoinedStore
from icebox.features.manifest.validation import DENSE_TASKS, Task
from icebox.features.splits import in_order, side
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.data import near_duplicates, two_sample
from icebox.pipeline.exploration import feature_space, label_errors

MAPPED_MAX = 1000  # test items on the map: more dots hide each other
JUDGED_MAX = 20_000  # items that are examined for label errors
SUSPECTS_MAX = 60  # listed of each store
ITEMS_PER_CLASS_MIN = 2  # with fewer a class can't be predicted out of fold
NEAR_MAX = 200  # pairs listed of each store
STEPS = 4
GroupOf = Callable[[str], str]  # item id → its group
ReadFeatures = Callable[[np.ndarray], np.ndarray]  # positions in the manifest (n,) → features (n, d)
NO_SUSPECTS: dict[str, Any] = {"suspects": [], "suspected": 0, "judged": 0, "agreement": None}


def explore(
    store: FeatureStore, *, task: Task, group_of: GroupOf, seed: int, on_step: Callable[[], Any]
) -> dict[str, Any]:
    """The sections `map`, `nearest`, `near` and those of `suspected_labels`, as JSON; only classes have suspects.

    Of a dense task's pictures the mean over each map is compared, so that no map need be in memory.

    `group_of` gives the name of an item's group: of those that belong together, or have equal content. `on_step` is
    called STEPS times.
    """
    document: dict[str, Any] = {}
    read = reader(store, task)
    load_libraries()
    with threadpool_limits(1):
        document["map"] = feature_map(store, read, seed)
        on_step()
        document["nearest"] = nearest_train_items(store, read)
        on_step()
        document["near"] = near_pairs(store, read)
        on_step()
        document |= suspected_labels(store, group_of, seed) if task == "classification" else NO_SUSPECTS
        on_step()
    return document


def load_libraries() -> None:
    """Load what computes in threads of its own: a limit holds for what is loaded when it begins, and the last digits of
    a map must not hang on the number of cores."""
    import scipy.linalg  # noqa: F401
    import sklearn.manifold  # noqa: F401


def reader(store: FeatureStore, task: Task) -> ReadFeatures:
    """A function that reads a store's features, of a dense task's pictures the mean over each map, of a joined store
    those of each member in its own scale."""
    if isinstance(store, JoinedStore):
        return store.load_of_length_1
    return partial(feature_space.pooled, store) if task in DENSE_TASKS else store.load_items


def feature_map(store: FeatureStore, read: ReadFeatures, seed: int) -> dict[str, Any]:
    """Ids of test items, and their points by method."""
    items = feature_space.sample(store.items("test"), MAPPED_MAX, seed=seed)
    components = feature_space.principal_components(read(items), seed=seed)
    maps = feature_space.maps(components, seed=seed)
    return {"item_ids": store.item_ids[items].tolist(), **{method: points.tolist() for method, points in maps.items()}}


def separations(store: FeatureStore, *, task: Task, seed: int) -> dict[str, dict[str, float]]:
    """How well each test set is told from train by its features, by its name; none of sets that are too small.

    Groups are those of the store; an item without one stands alone.
    """
    load_libraries()
    groups, by_split = np.where(store.groups == "", store.item_ids, store.groups), {}
    read = reader(store, task)
    train = feature_space.sample(store.items("train"), two_sample.ITEMS_MAX, seed=seed)
    features = read(train)
    for name in in_order(store.splits):
        if name.startswith("test"):
            items = feature_space.sample(store.items(name), two_sample.ITEMS_MAX, seed=seed)
            with threadpool_limits(1):
                result = two_sample.separation(features, read(items), groups[train], groups[items], seed=seed)
            if result:
                by_split[name] = {"auc": round(result.auc, 4), "p": float(f"{result.p:.3g}"), "n": result.n}
    return by_split


def nearest_train_items(store: FeatureStore, read: ReadFeatures) -> dict[str, list[Any]]:
    """[id, cosine] of the most similar train items by id of each test item, further test sets included."""
    train = store.items("train")
    tests = np.flatnonzero(np.char.startswith(store.splits.astype(str), "test"))
    positions, cosines = feature_space.nearest_of_store(read, tests, train)
    return {
        str(store.item_ids[item]): [
            [str(store.item_ids[train[position]]), round(float(cosine), 3)]
            for position, cosine in zip(positions[i], cosines[i], strict=True)
        ]
        for i, item in enumerate(tests)
    }


def near_pairs(store: FeatureStore, read: ReadFeatures) -> dict[str, Any]:
    """Pairs of near-duplicates, those across splits first and of these the surest; how many were found, in all and
    across splits, and how many items were compared with all."""
    found = near_duplicates.of_store(store, read)
    sides = [side(name) for name in store.splits.tolist()]
    across = [pair for pair in found.pairs if sides[pair.first] != sides[pair.second]]
    within = [pair for pair in found.pairs if sides[pair.first] == sides[pair.second]]
    return {
        "pairs": [
            [str(store.item_ids[pair.first]), str(store.item_ids[pair.second]), round(pair.cosine, 4)]
            for pair in [*across, *within][:NEAR_MAX]
        ],
        "found": len(found.pairs),
        "across": len(across),
        "compared": found.compared,
        "items": found.items,
    }


def suspected_labels(store: FeatureStore, group_of: GroupOf, seed: int) -> dict[str, Any]:
    """Suspected label errors in all splits, the surest first, and how often the judging heads agree with the labels."""
    all_labels = store.labels.astype(str)
    names, counts = np.unique(all_labels, return_counts=True)
    items = np.flatnonzero(np.isin(all_labels, names[counts >= ITEMS_PER_CLASS_MIN]))
    items = feature_space.sample(items, JUDGED_MAX, seed=seed)
    classes, labels = np.unique(all_labels[items], return_inverse=True)
    if len(classes) < 2 or np.bincount(labels).min() < ITEMS_PER_CLASS_MIN:
        return NO_SUSPECTS
    components = feature_space.principal_components(store.load_items(items), seed=seed)
    group_names = [group_of(item_id) for item_id in store.item_ids[items].tolist()]
    group_numbers = np.unique(group_names, return_inverse=True)[1]
    probabilities = label_errors.out_of_fold_probabilities(components, labels, group_numbers, seed=seed)
    suspects = label_errors.find_label_errors(probabilities, labels, classes.tolist())
    agreement = float((probabilities.argmax(axis=1) == labels).mean())
    return {
        "suspects": [
            {
                "item_id": str(store.item_ids[items[suspect.item]]),
                "split": str(store.splits[items[suspect.item]]),
                "label": str(classes[labels[suspect.item]]),
                "suggested": suspect.suggested,
                "confidence": suspect.confidence,
                "of_label": suspect.label_probability,
            }
            for suspect in suspects[:SUSPECTS_MAX]
        ],
        "suspected": len(suspects),
        "judged": len(items),
        "agreement": round(agreement, 4),
    }
