"""Make a manifest: list a dataset's items, take the sha256 of each content, and assign splits."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from icebox.features import fingerprint, splits
from icebox.features.abc.account import Account
from icebox.features.abc.dataset import Content, Dataset
from icebox.features.errors import IceboxError
from icebox.features.manifest import drawing, tables
from icebox.features.manifest.doubtful_texts import note_doubtful_text
from icebox.features.manifest.listing import list_items
from icebox.features.manifest.manifest import Manifest, ManifestRow
from icebox.features.manifest.spellings import merge_spellings
from icebox.features.manifest.targets import TargetReview
from icebox.features.manifest.validation import Task, require_task, require_two_labels, validate_content
from icebox.features.names import in_line

if TYPE_CHECKING:
    from icebox.features.images.bit_depth import BitDepths

Progress = Callable[[Sequence[ManifestRow]], Iterable[ManifestRow]]


def build(
    dataset: Dataset,
    *,
    val: float,
    test: float,
    seed: int,
    stratify: bool = False,
    task: Task = "classification",
    targets: TargetReview | None = None,
    skip_unreadable: bool = False,
    progress: Progress = iter,
) -> Manifest:
    """A new manifest: reads every item once, takes its content's sha256 and assigns a split.

    Official splits are kept: val is drawn only where none is official, test likewise, as fractions of the items in
    an official train and of those without a split. Groups stay together, and so do equal contents without a group.
    `targets` reviews those of a dense dataset, whose digests become the labels; with `skip_unreadable` items with a
    target that can't be used are left out. `progress` may watch the items pass. Doubts are added to the dataset's
    account. Raises IceboxError for items that no later step could use.
    """
    require_task(task, label_sets=dataset.label_sets)
    listed = merge_spellings(list_items(dataset.items(), task), task, dataset.account)
    if targets is None:
        require_two_labels(listed, task)
    items = with_keys(listed, dataset, targets, skip_unreadable=skip_unreadable, progress=progress)
    if targets:
        targets.require_content()
    official = items.distinct("split")
    shares = {"val": 0.0 if "val" in official else val, "test": 0.0 if "test" in official else test}
    codes, names = items.codes("split")
    free = np.flatnonzero(np.isin(codes, [code for code, name in enumerate(names) if name in ("", "train")]))
    codes[free] = len(names) + drawing.draw(items.take(free), shares, seed=seed, stratify=stratify, task=task)
    assigned = items.replaced(split=tables.coded(codes, [*names, *drawing.PARTS]))
    note_drawn_test(dataset.account, official, assigned.split_counts()["test"])
    return assigned


def with_keys(
    listed: Manifest, dataset: Dataset, targets: TargetReview | None, *, skip_unreadable: bool, progress: Progress
) -> Manifest:
    """The items with their contents' keys, of a dense dataset with their targets' digests as labels."""
    keys, kept = bytearray(), np.ones(len(listed), bool)
    labels: list[Any] = []
    digests: list[str] = []
    depths = None
    for position, listed_item in enumerate(progress(listed)):
        content = dataset.read(listed_item.source)
        validate_content(content, listed_item.item_id)
        item = labelled(listed_item, content, targets, dataset.account, skip=skip_unreadable)
        if item is None:
            kept[position] = False
            continue
        note_doubtful_text(content, item.item_id, dataset.account)
        key = fingerprint.of_content(content)
        keys += bytes.fromhex(key)
        if targets:
            digests.append(item.label)
            if len(digests) == tables.BLOCK_ROWS:
                labels.append(tables.column_of("label", digests))
                digests.clear()
        if isinstance(content, bytes):
            depths = depths or bit_depths()
            depths.look_at(content, item.item_id, key)
    if depths:
        depths.note(dataset.account)
    items = listed if kept.all() else listed.take(np.flatnonzero(kept))
    if targets:
        items = items.replaced(label=tables.joined([*labels, tables.column_of("label", digests)]))
    return items.replaced(item_key=tables.digests(bytes(keys)))


def labelled(
    item: ManifestRow, content: Content, targets: TargetReview | None, account: Account, *, skip: bool
) -> ManifestRow | None:
    """The item with its target's digest as its label, where it has a target; None for one that is left out.

    With `skip`, that is one with a target that is missing, damaged or of another size, else an error.
    """
    if targets is None:
        return item
    try:
        return replace(item, label=targets.label(item, content))
    except IceboxError as error:
        if not skip:
            raise IceboxError(f"item '{in_line(item.item_id)}': {error}", hint="skip unreadable items") from error
        account.note("unusable_targets", "items left out, since their target can't be used", f"{item.item_id}: {error}")
        return None


def note_drawn_test(account: Account, official: Collection[str], drawn: int) -> None:
    """Note a test of `drawn` items where the dataset came with official splits, and test is none of them."""
    if drawn and "train" in official and not {"", "test"} & set(official):
        own = ", ".join(splits.in_order(official))
        account.note("test_from_train", f"test items cut out of train (the dataset has {own} only)", count=drawn)


def bit_depths() -> "BitDepths":
    """A new account of 16-bit pictures. Imported here: a dataset of texts has no use for a decoder."""
    from icebox.features.images.bit_depth import BitDepths

    return BitDepths()
