"""New items that can't be read, and those that are read but have an empty text."""

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from icebox.features.abc.dataset import Content, Pair
from icebox.features.errors import IceboxError
from icebox.pipeline.inference.reading.new_items import NewItem

SHOWN = 20  # unreadable items that are listed one by one

OnError = Literal["fail", "skip"]
logger = logging.getLogger("icebox")


@dataclass
class Unread:
    """Items that can't be read: the first ends the run, or with `skip` each is logged and left out."""

    on_error: OnError
    count: int = 0

    def __call__(self, item: NewItem, error: IceboxError) -> None:
        """Raise, or list the item."""
        reason = str(error) if item.place in str(error) else str(error.at(item.place))
        if self.on_error == "fail":
            raise IceboxError(f"{reason}; mend it, or leave such items out with --on-error skip")
        self.count += 1
        if self.count <= SHOWN:
            logger.warning("left out: %s", reason)

    def report(self, read: int) -> None:
        """Log how many items were left out. Raises IceboxError where nothing else was."""
        if self.count:
            if not read:
                raise IceboxError(f"none of the {self.count:,} items could be read")
            logger.warning("left out %s of %s items", f"{self.count:,}", f"{self.count + read:,}")


@dataclass
class EmptyTexts:
    """Counts of items that have an empty text: they are answered like any other, and told."""

    counts: Counter[str] = field(default_factory=Counter)

    def watch(self, content: Content) -> None:
        """Look at one content."""
        match content:
            case str() if not content.strip():
                self.counts["empty texts"] += 1
            case Pair(first, second) if not (first.strip() and second.strip()):
                self.counts["pairs with an empty text"] += 1

    def report(self) -> None:
        """Log the counts."""
        for kind, count in self.counts.items():
            logger.info("%s %s; they are answered all the same", f"{count:,}", kind)
