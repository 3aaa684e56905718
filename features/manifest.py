"""The manifest: a dataset's items in order, each with its content's sha256, label and split. It decides row order."""

import csv
import hashlib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from features import atomic, fingerprint
from features.datasets.base import Dataset, Item
from features.errors import IceboxError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of a manifest: an Item, its content's sha256 (`item_key`), and the split it was given."""

    item_id: str
    item_key: str
    label: str
    split: str
    group: str
    source: str


def build(dataset: Dataset, *, val: float, test: float, seed: int) -> Iterator[Row]:
    """Read every item once, take its content's sha256 and give it a split.

    `val` and `test` are fractions of the items. Official splits are kept; where there is an official test but no
    val, `val` is taken from the official train. Raises IceboxError on no items, repeated ids, missing labels, or a
    split that is none of train, val, test.
    """
    items = list(dataset.items())
    refuse_bad_items(items)
    official = {item.split for item in items if item.split}
    for item in items:
        item_key = fingerprint.of_content(dataset.read(item.source))
        split = item.split
        if not split:
            split = draw_split(item.group or item_key, val=val, test=test, seed=seed)
        elif split == "train" and "val" not in official:
            split = draw_split(item.group or item_key, val=val, test=0, seed=seed)
        yield Row(
            item_id=item.item_id, item_key=item_key, label=item.label, split=split, group=item.group, source=item.source
        )


def draw_split(identity: str, *, val: float, test: float, seed: int) -> str:
    """The split of a group, or of a content where there is no group.

    It hangs on that identity alone: new items never move old ones, and equal contents always share a split.
    """
    digest = hashlib.sha256(f"{seed}:{identity}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    if position < test:
        return "test"
    return "val" if position < test + val else "train"


def refuse_bad_items(items: list[Item]) -> None:
    """Raise IceboxError for what no later step could make sense of."""
    if not items:
        raise IceboxError("expected items, found none")
    twice = [item_id for item_id, count in Counter(item.item_id for item in items).items() if count > 1]
    if twice:
        raise IceboxError(f"expected unique item ids, found {len(twice)} repeated: {', '.join(twice[:3])} …")
    for item in items:
        if not item.label:
            raise IceboxError(f"item '{item.item_id}': expected a label, found none")
        if item.split not in ("", *SPLITS):
            raise IceboxError(f"item '{item.item_id}': expected a split of {', '.join(SPLITS)}, found '{item.split}'")


def write(path: Path, rows: Iterable[Row]) -> list[Row]:
    """Write the manifest as CSV, whole or not at all, and return its rows."""
    written = list(rows)
    columns = [field.name for field in fields(Row)]
    with atomic.replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)  # else a lone "\r" would be lost
        writer.writerow(columns)
        writer.writerows([getattr(row, column) for column in columns] for row in written)
    return written


def read(path: Path) -> list[Row]:
    """The rows of a manifest, in its order."""
    csv.field_size_limit(sys.maxsize)  # a text may be longer than csv's default of 128 KiB
    with path.open(newline="", encoding="utf-8") as stream:
        return [Row(**record) for record in csv.DictReader(stream)]
