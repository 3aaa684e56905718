"""Doubts about the sizes of splits: too few items to choose or to judge by."""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain

import numpy as np

from icebox.features import label_sets
from icebox.features.abc.account import Account, Remark
from icebox.features.manifest.manifest import Manifest, ManifestRow
from icebox.features.manifest.validation import DENSE_TASKS, Task
from icebox.features.splits import in_order

FEW_ITEMS = 50  # one item more is then two points of accuracy, and a standard error up to seven
FEW_OF_CLASS = 5


def split_remarks(rows: Iterable[ManifestRow], task: Task) -> list[Remark]:
    """Remarks on splits that have no items, few, or few of a class."""
    account, manifest = Account(), Manifest.of(rows)
    counts = manifest.split_counts()
    for split in ("train", "test"):
        if len(manifest) and not counts[split]:
            account.note("empty_split", "splits without an item, which no head can be fitted without", split)
    labels = labels_by_split(manifest)
    for split in in_order(counts.keys() - {"train"}):
        if counts[split] < FEW_ITEMS:
            points = "" if task in DENSE_TASKS else f" (one item is {100 / counts[split]:.1f} points)"
            account.note("small_split", f"items in {split}, few to compare heads by{points}", count=counts[split])
        elif task == "classification":
            note_small_classes(account, labels, split)
    if task == "multilabel":
        note_sets(account, labels)
    return account.remarks()


def labels_by_split(manifest: Manifest) -> dict[str, Counter[str]]:
    """{split: {label: number of items}}."""
    (splits, names), (labels, values) = manifest.codes("split"), manifest.codes("label")
    pairs, counts = np.unique(splits * len(values) + labels, return_counts=True)
    by_split: dict[str, Counter[str]] = {}
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        split, label = divmod(pair, len(values))
        by_split.setdefault(names[split], Counter())[values[label]] = count
    return by_split


def note_sets(account: Account, labels: Mapping[str, Counter[str]]) -> None:
    """Note items without a label, and labels that few items of a split have, or lack."""
    none = label_sets.join(())
    for split in in_order(labels):
        if labels[split][none]:
            description = f"items of {split} without a label, which count as examples of none"
            account.note("empty_sets", description, count=labels[split][none])
    all_names = label_sets.names_of(chain(*labels.values()))
    for split in in_order(labels):
        having = Counter[str]()
        for label, count in labels[split].items():
            having.update(dict.fromkeys(label_sets.split(label), count))
        for name in all_names:
            count, lacking = having[name], labels[split].total() - having[name]
            if count < FEW_OF_CLASS:
                description = f"labels that fewer than {FEW_OF_CLASS} items of {split} have"
                account.note("small_classes", description, f"{name} ({count})")
            elif lacking < FEW_OF_CLASS:
                description = f"labels that fewer than {FEW_OF_CLASS} items of {split} lack"
                account.note("small_classes", description, f"{name} ({lacking})")


def note_small_classes(account: Account, labels: Mapping[str, Counter[str]], split: str) -> None:
    """Note classes of train with few items in a split; not where labels hardly repeat, as titles of articles."""
    train = labels.get("train", Counter())
    if 2 * len(train) > train.total():
        return
    for label in sorted(train):
        if labels[split][label] < FEW_OF_CLASS:
            description = f"classes with fewer than {FEW_OF_CLASS} items in {split}"
            account.note("small_classes", description, f"{label} ({labels[split][label]})")
