"""Make a manifest: list a dataset's items, take the sha256 of each content, and assign splits."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from icebox.features import fingerprint, label_sets, splits, stratification
from icebox.features.abc.account import Account
from icebox.features.abc.dataset import Content, Dataset, Item
from icebox.features.errors import IceboxError
from icebox.features.manifest.doubtful_texts import note_doubtful_text
from icebox.features.manifest.manifest import Manifest, ManifestRow
from icebox.features.manifest.spellings import merge_spellings
from icebox.features.manifest.targets import TargetReview
from icebox.features.manifest.validation import Task, require_task, require_two_labels, validate_items
from icebox.features.names import in_line

if TYPE_CHECKING:
    from icebox.features.images.bit_depth import BitDepths


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
    progress: Callable[[Sequence[Item]], Iterable[Item]] = iter,
) -> Manifest:
    """A new manifest: reads every item once, takes its content's sha256 and assigns a split.

    Official splits are kept: val is drawn only where none is official, test likewise, as fractions of the items in
    an official train and of those without a split. Groups stay together, and so do equal contents without a group.
    `targets` reviews those of a dense dataset, whose digests become the labels; with `skip_unreadable` items with a
    target that can't be used are left out. `progress` may watch the items pass. Doubts are added to the dataset's
    account. Raises IceboxError for items that no later step could use.
    """
    require_task(task, label_sets=dataset.label_sets)
    listed = list(dataset.items())
    validate_items(listed, task)
    listed = merge_spellings(listed, task, dataset.account)
    if targets is None:
        require_two_labels(listed, task)
    items: list[Item] = []
    keys: list[str] = []
    depths = None
    for listed_item in progress(listed):
        content = dataset.read(listed_item.source)
        item = labelled(listed_item, content, targets, dataset.account, skip=skip_unreadable)
        if item is None:
            continue
        items.append(item)
        note_doubtful_text(content, item.item_id, dataset.account)
        keys.append(fingerprint.of_content(content))
        if isinstance(content, bytes):
            depths = depths or bit_depths()
            depths.look_at(content, item.item_id, keys[-1])
    if depths:
        depths.note(dataset.account)
    if targets:
        targets.require_content()
    identities = [item.group or key for item, key in zip(items, keys, strict=True)]
    official = {item.split for item in items}
    free = [i for i, item in enumerate(items) if item.split in ("", "train")]
    shares = {"val": 0.0 if "val" in official else val, "test": 0.0 if "test" in official else test}
    pairs = [(identities[i], items[i].label) for i in free]
    if stratify and task == "multilabel":
        drawn = draw_sets(pairs, shares, seed=seed)
    else:
        drawn = splits.draw(splits.split_units(pairs), **shares, seed=seed, stratify=stratify)
    assigned = [item.split for item in items]
    for i in free:
        assigned[i] = drawn[identities[i]]
    note_drawn_test(dataset.account, official, assigned.count("test"))
    return Manifest.of(
        ManifestRow(
            item_id=item.item_id,
            item_key=key,
            label=item.label,
            split=split,
            group=item.group,
            source=item.source,
            slices=item.slices,
        )
        for item, key, split in zip(items, keys, assigned, strict=True)
    )


def draw_sets(pairs: Iterable[tuple[str, str]], shares: Mapping[str, float], *, seed: int) -> dict[str, str]:
    """A split for each identity of (identity, set of labels) items, so that each label has its share of every split."""
    units = stratification.units_of((identity, label_sets.split(label)) for identity, label in pairs)
    drawn = {name: share for name, share in shares.items() if share}
    return stratification.divide(units, {"train": 1 - sum(drawn.values()), **drawn}, seed=seed)


def labelled(
    item: Item, content: Content, targets: TargetReview | None, account: Account, *, skip: bool
) -> Item | None:
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
