"""Doubts about the sizes of splits: too few items to choose or to judge by."""

from collections import Counter
from collections.abc import Sequence

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
    return account.remarks()


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
