"""Make a manifest: list a dataset's items, take the sha256 of each content, and assign splits."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from icebox.features import fingerprint, splits
from icebox.features.abc.account import Account
from icebox.features.abc.dataset import Content, Dataset
from icebox.features.errors import IceboxError
from icebox.features.manifest import drawing, tables
from icebox.features.manifest.known_contents import UNKNOWN, FileStates, KnownContents
from icebox.features.manifest.known_parts import KnownParts
from icebox.features.manifest.listing import list_dataset
from icebox.features.manifest.manifest import Manifest, ManifestRow
from icebox.features.manifest.spellings import merge_spellings
from icebox.features.manifest.targets import TargetReview
from icebox.features.manifest.validation import Task, require_task, require_two_labels, validate_content
from icebox.features.names import in_line
from icebox.features.text.doubtful_texts import note_doubtful_text

CHECKED = 4  # contents that are known by their reference and read all the same
NOT_SIXTEEN, SIXTEEN = -1, -2  # in the place of the bits that a picture of 16 needs: it is none, or not looked at
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
    known: KnownContents | None = None,
    known_parts: KnownParts | None = None,
) -> Manifest:
    """A new manifest: reads every item once, takes its content's sha256 and assigns a split.

    Official splits are kept: val is drawn only where none is official, test likewise, as fractions of the items in
    an official train and of those without a split. Groups stay together, and so do equal contents without a group.
    `targets` reviews those of a dense dataset, whose digests become the labels; with `skip_unreadable` items with a
    target that can't be used are left out. `progress` may watch those pass that are read; files that are
    `known` from an earlier time are not, nor are `known_parts` of the dataset listed. Doubts are added to its account.
    Raises IceboxError for items that no later step could use.
    """
    require_task(task, label_sets=dataset.label_sets)
    listed = merge_spellings(list_dataset(dataset, task, known_parts), task, dataset.account)
    if targets is None:
        require_two_labels(listed, task)
    items = listed
    if targets or not len(listed) or not listed.has_whole_keys:
        items = with_keys(listed, dataset, targets, skip_unreadable=skip_unreadable, progress=progress, known=known)
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
    listed: Manifest,
    dataset: Dataset,
    targets: TargetReview | None,
    *,
    skip_unreadable: bool,
    progress: Progress,
    known: KnownContents | None,
) -> Manifest:
    """The items with their contents' keys, of a dense dataset with their targets' digests as labels.

    Contents are read whose key is not at hand: by listing them, or by the record of `known` ones, which is renewed.
    """
    sources = (listed if known and not targets else listed[:0]).sources
    if by_reference := dataset.content_settings() is not None:
        states = FileStates.unchanging(len(sources))
    else:
        states = FileStates.of(sources.to_pylist(), dataset.content_file)
    if known and states.certain.any():
        keys, bits = known.keys(sources, states)
        if by_reference and (changed := changed_content(listed, dataset, keys, np.flatnonzero(bits != UNKNOWN))):
            dataset.account.note(
                "changed_contents", "contents that the source says can't change; all read again", changed
            )
            keys[:], bits[:] = 0, UNKNOWN
    else:
        keys, bits = listed.key_bytes(), np.full(len(listed), UNKNOWN, np.int16)
        bits[keys.any(1)] = NOT_SIXTEEN
    kept, doubted = np.ones(len(listed), bool), []
    unread = np.arange(len(listed)) if targets else np.flatnonzero(bits == UNKNOWN)
    to_read = listed if len(unread) == len(listed) else listed.take(unread)
    labels: list[Any] = []
    digests: list[str] = []
    for position, listed_item in zip(unread, progress(to_read), strict=True):
        noted = dataset.account.cases
        content = dataset.read(listed_item.source)
        validate_content(content, listed_item.item_id)
        item = labelled(listed_item, content, targets, dataset.account, skip=skip_unreadable)
        if item is None:
            kept[position] = False
            continue
        note_doubtful_text(content, item.item_id, dataset.account)
        if dataset.account.cases > noted:
            doubted.append(position)
        keys[position] = np.frombuffer(bytes.fromhex(fingerprint.of_content(content)), np.uint8)
        bits[position] = SIXTEEN if isinstance(content, bytes) and is_sixteen_bit(content) else NOT_SIXTEEN
        if targets:
            digests.append(item.label)
            if len(digests) == tables.BLOCK_ROWS:
                labels.append(tables.column_of("label", digests))
                digests.clear()
    note_bit_depths(listed, dataset, keys, bits, np.flatnonzero(kept & (bits != NOT_SIXTEEN)))
    if known and states.certain.any():
        bits[doubted] = UNKNOWN  # to be read, and noted, another time too
        known.write(sources, states, keys, bits)
    items = listed.replaced(item_key=tables.digests(keys.tobytes()))
    items = items if kept.all() else items.take(np.flatnonzero(kept))
    return items.replaced(label=tables.joined([*labels, tables.column_of("label", digests)])) if targets else items


def changed_content(listed: Manifest, dataset: Dataset, keys: np.ndarray, known: np.ndarray) -> str:
    """The id of an item at the `known` positions whose content has another key than in `keys` (n, 32); "" for none.

    Looked at are the CHECKED with the smallest keys: a sample that is random yet the same each time.
    """
    smallest = known[np.argsort(keys[known, :8].copy().view(">u8")[:, 0], kind="stable")[:CHECKED]]
    for item, key in zip(listed.take(smallest), keys[smallest], strict=True):
        if fingerprint.of_content(dataset.read(item.source)) != key.tobytes().hex():
            return item.item_id
    return ""


def note_bit_depths(
    listed: Manifest, dataset: Dataset, keys: np.ndarray, bits: np.ndarray, positions: np.ndarray
) -> None:
    """Note where the 16-bit pictures at these positions stay in a small part of the range.

    Those that are looked at are read again; `bits` (n,) keeps what was found.
    """
    if not len(positions):
        return
    from icebox.features.images.bit_depth import BitDepths, bits_needed  # a dataset of texts needs no decoder

    depths = BitDepths()
    for position in positions.tolist():
        if depths.samples(keys[position].tobytes().hex()):
            item = listed[position]
            if bits[position] == SIXTEEN:
                needed = bits_needed(dataset.read(item.source))
                bits[position] = NOT_SIXTEEN if needed is None else needed
            if bits[position] >= 0:
                depths.bits[item.item_id] = int(bits[position])
    depths.note(dataset.account)


def is_sixteen_bit(content: bytes) -> bool:
    """Whether a content is a picture of 16 bits."""
    from icebox.features.images.bit_depth import open_sixteen_bit

    return open_sixteen_bit(content) is not None


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
