"""Alignment of new items for a head that was fitted with `adapt`: to the statistics that it keeps, or to their own."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import numpy as np

from icebox.features.errors import IceboxError
from icebox.pipeline.estimators.alignment import AlignedHead, change_aligned, is_aligned
from icebox.pipeline.inference.bundle import Bundle
from icebox.pipeline.inference.reading.new_items import Batch

Adapt = Literal["saved", "items", "none"]


def require_alignment(opened: Bundle, adapt: Adapt | None, name: str) -> None:
    """Raise IceboxError where a way of alignment is asked for and the head has none."""
    if adapt is not None and not is_aligned(opened.head):
        raise IceboxError(
            f"--adapt {adapt}: {name} was fitted without alignment; set adapt: standardize in its input or in fit, "
            "fit it anew, or leave --adapt out"
        )


def unaligned(opened: Bundle) -> Bundle:
    """The head as it answers items that are not aligned."""
    return replace(opened, head=change_aligned(opened.head, lambda head: head.head))


def aligned(opened: Bundle, batches: Iterator[Batch], adapt: Adapt | None) -> tuple[Bundle, Iterator[Batch]]:
    """The head as it answers these items, and the items.

    `saved` (and None): each is taken for one of the test set that the head was fitted beside, by statistics of that.
    `items`: all are read first, and aligned by statistics of their own, a group counted once. `none`: not aligned.
    Raises IceboxError for too few items.
    """
    if adapt == "none":
        return unaligned(opened), batches
    if adapt != "items":
        return opened, batches
    read = list(batches)
    if not read:
        return opened, iter(read)
    features = np.concatenate([batch.features for batch in read])
    items = [item for batch in read for item in batch.items]
    groups = [item.group or f"\0{i}" for i, item in enumerate(items)]

    def onto_items(head: AlignedHead) -> AlignedHead:
        return head.onto(features, groups, "--adapt items")

    return replace(opened, head=change_aligned(opened.head, onto_items)), iter(read)
