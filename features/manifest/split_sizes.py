"""Doubts about the sizes of splits: too few items to choose or to judge by."""

from collections import Counter
from collections.abc import Sequence

from icebox.features import label_sets
from icebox.features.abc.account import Account, Remark
from icebox.features.manifest.manifest import ManifestRow
from icebox.features.manifest.validation import DENSE_TASKS, Task
from icebox.features.splits import in_order

FEW_ITEMS = 50  # one item more is then two points of accuracy, and a standard error up to seven
FEW_OF_CLASS = 5


def split_remarks(rows: Sequence[ManifestRow], task: Task) -> list[Remark]:
    """Remarks on splits that have no items, few, or few of a class."""
    account = Account()
    counts = Counter(row.split for row in rows)
    for split in ("train", "test"):
        if rows and not counts[split]:
            account.note("empty_split", "splits without an item, which no head can be fitted without", split)
    for split in in_order(counts.keys() - {"train"}):
        if counts[split] < FEW_ITEMS:
            points = "" if task in DENSE_TASKS else f" (one item is {100 / counts[split]:.1f} points)"
            account.note("small_split", f"items in {split}, few to compare heads by{points}", count=counts[split])
        elif task == "classification":
            note_small_classes(account, rows, split)
    if task == "multilabel":
        note_sets(account, rows)
    return account.remarks()


def note_sets(account: Account, rows: Sequence[ManifestRow]) -> None:
    """Note items without a label, and labels that few items of a split have, or lack."""
    empty = Counter(row.split for row in rows if not label_sets.split(row.label))
    for split in in_order(empty):
        account.note(
            "empty_sets", f"items of {split} without a label, which count as examples of none", count=empty[split]
        )
    items = Counter(row.split for row in rows)
    having = Counter((row.split, name) for row in rows for name in label_sets.split(row.label))
    for split in in_order(items):
        for name in label_sets.names_of(row.label for row in rows):
            count = having[split, name]
            if count < FEW_OF_CLASS:
                description = f"labels that fewer than {FEW_OF_CLASS} items of {split} have"
                account.note("small_classes", description, f"{name} ({count})")
            elif items[split] - count < FEW_OF_CLASS:
                description = f"labels that fewer than {FEW_OF_CLASS} items of {split} lack"
                account.note("small_classes", description, f"{name} ({items[split] - count})")


def note_small_classes(account: Account, rows: Sequence[ManifestRow], split: str) -> None:
    """Note classes of train with few items in a split; not where labels hardly repeat, as titles of articles."""
    train = Counter(row.label for row in rows if row.split == "train")
    counts = Counter(row.label for row in rows if row.split == split)
    if 2 * len(train) > train.total():
        return
    for label in sorted(train):
        if counts[label] < FEW_OF_CLASS:
            description = f"classes with fewer than {FEW_OF_CLASS} items in {split}"
            account.note("small_classes", description, f"{label} ({counts[label]})")
