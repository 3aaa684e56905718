"""Doubts about the sizes of splits: too few items to choose or to judge by, a test that was cut out of train."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from icebox.features.abc.account import Account, Remark
from icebox.features.manifest.validation import Task
from icebox.features.splits import in_order

if TYPE_CHECKING:  # the manifest calls this
    from icebox.features.manifest.manifest import ManifestRow

FEW_ITEMS = 50  # one item more is then two points of accuracy, and a standard error up to seven
FEW_OF_CLASS = 5


def note_drawn_test(account: Account, official: Collection[str], drawn: int) -> None:
    """Note a test of `drawn` items where the dataset came with official splits, and test is none of them."""
    if drawn and "train" in official and not {"", "test"} & set(official):
        own = ", ".join(in_order(official))
        account.note("test_from_train", f"test items cut out of train (the dataset has {own} only)", count=drawn)


def split_remarks(rows: "Sequence[ManifestRow]", task: Task) -> list[Remark]:
    """Remarks on splits that have few items, or few of a class."""
    account = Account()
    counts = Counter(row.split for row in rows)
    for split in in_order(counts.keys() - {"train"}):
        if counts[split] < FEW_ITEMS:
            points = f"one item is {100 / counts[split]:.1f} points"
            account.note("small_split", f"items in {split}, few to compare heads by ({points})", count=counts[split])
        elif task == "classification":
            note_small_classes(account, rows, split)
    return account.remarks()


def note_small_classes(account: Account, rows: "Sequence[ManifestRow]", split: str) -> None:
    """Note classes of train with few items in a split; not where labels hardly repeat, as titles of articles."""
    train = Counter(row.label for row in rows if row.split == "train")
    counts = Counter(row.label for row in rows if row.split == split)
    if 2 * len(train) > train.total():
        return
    for label in sorted(train):
        if counts[label] < FEW_OF_CLASS:
            description = f"classes with fewer than {FEW_OF_CLASS} items in {split}"
            account.note("small_classes", description, f"{label} ({counts[label]})")
