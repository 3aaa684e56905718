"""Validate an item: its texts, its split and its label."""

import math
import re
from collections.abc import Sequence
from typing import Literal, get_args

from icebox.features import label_sets, splits
from icebox.features.abc.dataset import Content, Item, Pair
from icebox.features.errors import IceboxError
from icebox.features.manifest.manifest import Manifest
from icebox.features.names import in_line

LabelTask = Literal["classification", "regression", "multilabel"]  # one label an item, or a set of them
DenseTask = Literal["segmentation", "detection"]  # a mask, or boxes: see features/abc/targets.py
Task = LabelTask | DenseTask
DENSE_TASKS = get_args(DenseTask)
SLICE_NAME = re.compile(r"\w+")
SHOWN = 3  # names in an error
TARGET_MAX = 1e100  # of a regression, either sign: the squares of larger ones overflow, and so do all scores
NAME_BYTES_MAX = 4096  # of an id, a label, a group, a slice's value: a column of them is as wide as its longest


def require_two_labels(items: Manifest, task: Task) -> None:
    """Raise IceboxError where all items have one label, or are a regression's with targets too small to be scored."""
    labels = {float(label) if task == "regression" else label for label in items.distinct("label")}
    if task == "regression" and 0 < max(map(abs, map(float, labels))) < 1 / TARGET_MAX:
        raise IceboxError(
            f"expected a label of size {1 / TARGET_MAX:g} at least (task: regression), found smaller ones only; "
            "take another unit"
        )
    if len(labels) == 1:
        raise IceboxError(
            f"expected at least two different labels, found '{in_line(items[0].label)}' for all of "
            f"{len(items):,} items; there is nothing to learn"
        )


def validate_item(item: Item, task: Task) -> None:
    """Raise IceboxError, which does not name the item, for texts that can't be kept, and an unknown split or label."""
    validate_texts(item)
    if item.split and not splits.is_split(item.split):
        raise IceboxError(
            f"expected a split of {', '.join(splits.SPLITS)} or test-NAME (lower-case letters, digits, '_' and '.'), "
            f"found '{in_line(item.split)}'"
        )
    if task == "regression":
        require_target(item.label)
    if task == "multilabel":
        require_set(item.label)


def require_target(label: str) -> None:
    """Raise IceboxError for a regression's label that is no finite number, or too large to be scored."""
    if not is_number(label):
        raise IceboxError(f"expected a finite number as its label (task: regression), found '{in_line(label)}'")
    if abs(float(label)) > TARGET_MAX:
        raise IceboxError(
            f"expected a label of size {TARGET_MAX:g} at most (task: regression), found '{in_line(label)}'; "
            "take logarithms, or another unit"
        )


def require_set(label: str) -> None:
    """Raise IceboxError for a label that is no set of names."""
    try:
        label_sets.split(label)
    except ValueError:
        raise IceboxError(
            f"expected a set of labels (task: multilabel), found '{in_line(label)}'; name its columns: label: [a, b], "
            "or {column: labels, sep: '|'}; or leave the task out"
        ) from None


def require_task(task: Task, *, label_sets: bool) -> None:
    """Raise IceboxError where a dataset has sets of labels and its task is of one label, or the other way round."""
    if label_sets and task != "multilabel":
        raise IceboxError(f"its labels are sets of names, and its task is {task}; say task: multilabel")
    if not label_sets and task == "multilabel":
        raise IceboxError(
            "task: multilabel: expected sets of labels, found one label an item; name their columns: label: [a, b], "
            "or {column: labels, sep: '|'} (`features`: y, classes or sep)"
        )


def validate_texts(item: Item) -> None:
    """Raise IceboxError for texts that a manifest in UTF-8, or a store's column of texts, can't hold."""
    for field, text in (("id", item.item_id), ("label", item.label), ("group", item.group), ("split", item.split)):
        if "\0" in text:
            raise IceboxError(f"its {field} holds a NUL character, found '{in_line(text)}'; remove it")
    for text in (item.item_id, item.label, item.group, item.source, *item.slices, *item.slices.values()):
        require_unicode(text)
    named = {"id": item.item_id, "label": item.label, "group": item.group, **item.slices}
    for field, text in named.items():
        if len(text) > NAME_BYTES_MAX // 4 and (size := len(text.encode())) > NAME_BYTES_MAX:
            raise IceboxError(
                f"its {field} takes {size:,} bytes, at most {NAME_BYTES_MAX:,} are taken; "
                f"is '{in_line(text)}' a {field}?"
            )
    for name in item.slices:
        if not SLICE_NAME.fullmatch(name):
            raise IceboxError(f"slice '{in_line(name)}': a slice's name is made of letters, digits and '_'")


def validate_content(content: Content, item_id: str) -> None:
    """Raise IceboxError, which names the item, for a text that UTF-8 can't hold."""
    texts = (content.first, content.second) if isinstance(content, Pair) else (content,)
    try:
        for text in texts:
            if isinstance(text, str):
                require_unicode(text)
    except IceboxError as error:
        raise error.at(f"item '{in_line(item_id)}'") from error


def require_unicode(text: str) -> None:
    """Raise IceboxError for a text that holds half of a character, as JSON may spell one."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        broken = text[error.start : error.end]
        raise IceboxError(f"{broken!r} is half of a character, which UTF-8 can't hold; mend the file") from error


def is_number(label: str) -> bool:
    """Whether a label is a finite number."""
    try:
        return math.isfinite(float(label))
    except ValueError:
        return False


def first_names(names: Sequence[str]) -> str:
    """The first few names, with "…" where there are more."""
    return ", ".join(map(in_line, names[:SHOWN])) + (" …" if len(names) > SHOWN else "")
