"""Draw splits for a manifest's items, as columns; how splits are drawn is said in `splits.draw`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from icebox.features import label_sets, splits, stratification
from icebox.features.manifest import tables
from icebox.features.manifest.manifest import Manifest
from icebox.features.manifest.validation import Task

PARTS = splits.SPLITS


def draw(
    items: Manifest, shares: Mapping[str, float], *, seed: int, stratify: bool, task: Task = "classification"
) -> np.ndarray:
    """A position in PARTS (n,) for each item; `shares` are the fractions of val and test.

    Groups stay together, and so do equal contents without a group. Stratified: by labels, or by the sets of labels.
    """
    if not any(shares.values()):
        return np.full(len(items), PARTS.index("train"), np.int64)
    codes, identities = identities_of(items)
    if stratify and task == "multilabel":
        labels, values = items.codes("label")
        pairs = zip(codes.tolist(), labels.tolist(), strict=True)
        named = identities.to_pylist()
        units = stratification.units_of((named[unit], label_sets.split(values[label])) for unit, label in pairs)
        drawn = {name: share for name, share in shares.items() if share}
        parts = stratification.divide(units, {"train": 1 - sum(drawn.values()), **drawn}, seed=seed)
        numbers = [PARTS.index(parts[identity]) for identity in named]
        return np.array(numbers, np.int64).take(codes)
    places = np.empty(len(identities))
    for start in range(0, len(places), tables.BLOCK_ROWS):
        block = identities.slice(start, tables.BLOCK_ROWS).to_pylist()
        places[start : start + len(block)] = [splits.position(identity, seed) for identity in block]
    if stratify and len(items):
        places = stratified(codes, places, items)
    test, val = shares["test"], shares["val"]
    parts_of_units = np.where(places < test, 2, np.where(places < test + val, 1, 0))
    part_of: np.ndarray = parts_of_units[codes]
    return part_of


def identities_of(items: Manifest) -> tuple[np.ndarray, Any]:
    """(the unit (n,) of each item, the identities of the units, an Arrow array in the order of their first item)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    keys = items.item_keys
    if items.distinct("group") in ([], [""]):
        column = keys.dictionary_encode()
        return tables.numbers(column.indices).astype(np.int64), tables.hex_texts(column.dictionary)
    groups = items.groups.cast(pa.large_string())
    column = pc.if_else(pc.equal(groups, ""), tables.hex_texts(keys), groups).dictionary_encode()
    return tables.numbers(column.indices).astype(np.int64), column.dictionary


def stratified(codes: np.ndarray, places: np.ndarray, items: Manifest) -> np.ndarray:
    """Each unit's middle (u,) as a share of its class's items, with the units in the order of `places` (u,).

    A unit's class is the most frequent label of its items, of several the first by name. `codes` (n,) are items' units.
    """
    numbers, labels = items.codes("label")
    by_name = np.argsort(np.array(sorted(range(len(labels)), key=labels.__getitem__)))  # a label's rank by its name
    k = len(labels)
    pairs, counts = np.unique(codes * k + by_name[numbers], return_counts=True)
    units, ranks = pairs // k, pairs % k
    best = np.lexsort((ranks, -counts, units))
    first = best[np.r_[True, units[best][1:] != units[best][:-1]]]
    label_of, sizes = ranks[first], np.bincount(codes)
    order = np.argsort(places, kind="stable")
    order = order[np.argsort(label_of[order], kind="stable")]
    size, label = sizes[order], label_of[order]
    ends = np.cumsum(size)
    total = np.bincount(label_of, sizes, k).astype(np.int64)
    before = ends - size - (np.cumsum(total) - total)[label]
    shares = np.empty(len(places))
    shares[order] = (before + size / 2) / total[label]
    return shares
