"""List a dataset's items as columns, validated before any content is read."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from operator import attrgetter

from icebox.features import fingerprint, splits
from icebox.features.abc.account import Account
from icebox.features.abc.dataset import Dataset, Item
from icebox.features.errors import IceboxError
from icebox.features.manifest import tables
from icebox.features.manifest.known_parts import KnownParts
from icebox.features.manifest.manifest import Manifest
from icebox.features.manifest.validation import (
    DENSE_TASKS,
    NAME_BYTES_MAX,
    SLICE_NAME,
    Task,
    first_names,
    require_set,
    require_target,
    require_two_labels,
    validate_content,
    validate_item,
)
from icebox.features.names import canonical_name, in_line
from icebox.features.text.doubtful_texts import note_doubtful_text

FIELDS = ("item_id", "label", "split", "group", "source")
BLOCK_ITEMS = 1 << 11  # that are Python's objects at a time
# a name that `canonical_name` may change, as a pattern of RE2: all others are in their normal form
MAYBE_NOT_NORMAL = (
    r"[^!-~]|^(?:True|TRUE|False|FALSE)$|^-?[0-9]+\.0+$|^-?[0-9.]+e\+[0-9]+$"
    r"|^[0-9]{4}-[0-9]{2}-[0-9]{2}T"
)


def list_items(items: Iterable[Item], task: Task = "classification", account: Account | None = None) -> Manifest:
    """The items as rows whose splits are the official ones, "" for none, and whose keys are "" for an unread content.

    Doubts about texts that were read go to `account`. Raises IceboxError for no items, repeated ids, missing or
    unusable labels, unknown splits and broken Unicode.
    """
    listing = Listing(task, account or Account())
    return listing.concluded(listing.columns(items))


def list_dataset(dataset: Dataset, task: Task = "classification", known: KnownParts | None = None) -> Manifest:
    """The items of a dataset as `list_items` gives them; of its parts those are listed that are not `known`."""
    listing = Listing(task, dataset.account)
    parts = dataset.parts() if known else None
    if known is None or parts is None:
        return listing.concluded(listing.columns(dataset.items()))
    return listing.concluded(known.columns(list(parts), listing))


class Listing:
    """Validates items as they pass, block by block; the first that can't be taken is named in the end."""

    def __init__(self, task: Task, account: Account) -> None:
        self.task, self.account = task, account
        self.count = self.unlabelled = 0
        self.without_label: list[str] = []  # the first ids
        self.error: IceboxError | None = None

    @property
    def doubts(self) -> int:
        """How much came up so far that an item's columns do not tell."""
        return self.account.cases + self.unlabelled + (self.error is not None)

    def columns(self, items: Iterable[Item]) -> Iterator[tables.Columns]:
        """The items as Arrow columns, a block at a time."""
        return map(tables.columns_of, self.blocks(items))

    def add_known(self, rows: int) -> None:
        """Count rows that passed an earlier listing without a doubt."""
        self.count += rows

    def concluded(self, blocks: Iterable[tables.Columns]) -> Manifest:
        """The manifest of all blocks. Raises IceboxError for what is wrong with the items."""
        listed = Manifest(tables.of_columns(blocks))
        self.conclude(listed)
        return listed

    def blocks(self, items: Iterable[Item]) -> Iterator[tables.Cells]:
        """The items as columns, a block at a time."""
        source = iter(items)
        while block := list(islice(source, BLOCK_ITEMS)):
            self.count += len(block)
            cells = columns_of(block)
            if self.task not in DENSE_TASKS and not all(label.strip() for label in set(cells["label"])):
                missing = [item.item_id for item in block if not item.label.strip()]
                self.unlabelled += len(missing)
                self.without_label = (self.without_label + missing)[: len(missing[:3]) + 3]
            if not is_certainly_valid(cells, self.task):
                block = list(filter(self.is_valid, block))
                cells = columns_of(block)
            if any(item.content is not None for item in block):
                cells["item_key"] = [self.key(item) for item in block]
            if block:
                yield cells

    def is_valid(self, item: Item) -> bool:
        """Whether an item can be kept; the first error is remembered."""
        try:
            validate_item(item, self.task)
        except IceboxError as error:
            if self.error is None:
                self.error = error.at(f"item '{in_line(item.item_id)}'")
            return False
        return True

    def key(self, item: Item) -> str:
        """The key of an item's content, "" where it is yet to be read."""
        if item.content is None:
            return ""
        try:
            validate_content(item.content, item.item_id)
        except IceboxError as error:
            self.error = self.error or error
            return ""
        note_doubtful_text(item.content, item.item_id, self.account)
        return fingerprint.of_content(item.content)

    def conclude(self, listed: Manifest) -> None:
        """Raise IceboxError for what is wrong with the items."""
        if not self.count:
            raise IceboxError("expected items, found none")
        if repeated := repeated_ids(listed):
            raise IceboxError(f"expected unique item ids, found {len(repeated):,} repeated: {first_names(repeated)}")
        if self.unlabelled:
            raise IceboxError(
                f"expected a label for every item, found none for {self.unlabelled:,} of {self.count:,}: "
                f"{first_names(self.without_label)}; label them or leave them out"
            )
        if self.error is not None:
            raise self.error
        if self.task not in DENSE_TASKS:  # their labels are what targets are known by, and come with these
            require_two_labels(listed, self.task)


def is_certainly_valid(cells: tables.Cells, task: Task) -> bool:
    """Whether a glance at whole columns shows that `validate_item` takes all of the items with these cells."""
    labels, official = set(cells["label"]), set(cells["split"])
    columns = [cells["item_id"], list(labels), list(set(cells["group"])), list(official)]
    of_slices = {name.removeprefix(tables.SLICE): set(cells[name]) for name in cells if name not in tables.COLUMNS}
    values = [value for distinct in of_slices.values() for value in distinct]
    try:
        for column in (*columns, cells["source"], list(of_slices), values):
            "".join(column).encode()
        for label in labels:
            if task == "regression":
                require_target(label)
            if task == "multilabel":
                require_set(label)
    except (UnicodeEncodeError, IceboxError):
        return False
    return (
        not any("\0" in "".join(column) for column in columns)
        and all(max(map(len, column), default=0) <= NAME_BYTES_MAX // 4 for column in (*columns, values))
        and all(not split or splits.is_split(split) for split in official)
        and all(SLICE_NAME.fullmatch(name) for name in of_slices)
    )


def columns_of(block: Sequence[Item]) -> dict[str, Sequence[str]]:
    """The cells of items, by the names of a manifest's columns; no key is at hand."""
    cells: dict[str, Sequence[str]] = {name: list(map(attrgetter(name), block)) for name in FIELDS}
    slices = list(map(attrgetter("slices"), block))
    names = dict.fromkeys(name for of_item in slices for name in of_item) if any(slices) else {}
    return {
        **cells,
        "item_key": [""] * len(block),
        **{f"{tables.SLICE}{name}": [of_item.get(name, "") for of_item in slices] for name in names},
    }


def repeated_ids(listed: Manifest) -> list[str]:
    """The ids, in their normal form, that several items have."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = listed.item_ids
    doubtful = pc.match_substring_regex(column, MAYBE_NOT_NORMAL)
    if pc.any(doubtful).as_py():
        of_doubt = column.filter(doubtful)
        blocks = [of_doubt.slice(start, BLOCK_ITEMS) for start in range(0, len(of_doubt), BLOCK_ITEMS)]
        normal = [tables.texts([canonical_name(name) for name in block.to_pylist()]) for block in blocks]
        column = pc.replace_with_mask(column, doubtful, pa.concat_arrays(normal))
    if len(pc.unique(column)) == len(column):  # in a third of the time of count_distinct
        return []
    return [name for name, count in Counter(column.to_pylist()).items() if count > 1]
