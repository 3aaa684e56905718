"""made: texts made from their number as they are read, ten classes of which one label in twenty is wrong."""

import hashlib
from collections.abc import Iterator
from functools import partial
from typing import Annotated, final

from annotated_types import Ge

from icebox.features.abc.dataset import Dataset, Item, Part

CLASSES = 10
PART_ITEMS = 1 << 13
WRONG = 20  # one label in so many is another class's
COPIES = 200  # one item in so many is nearly another one
SPLITS = {0: "test", 5: "val"}  # by the number's last digit


@final
class Source(Dataset):
    """The first `items` numbers. An item's class is hidden in the number's hash, as is whether its label is wrong."""

    modality = "text"

    def __init__(self, *, items: Annotated[int, Ge(1)]) -> None:
        self.count = items

    def items(self) -> Iterator[Item]:
        """Each number's item."""
        return items_of(0, self.count)

    def parts(self) -> Iterator[Part]:
        """PART_ITEMS numbers each."""
        for start in range(0, self.count, PART_ITEMS):
            stop = min(start + PART_ITEMS, self.count)
            yield Part(partial(items_of, start, stop), [start, stop])

    def read(self, source: str) -> str:
        """The text of a number: itself, the one that it is nearly a copy of (mostly its own), and that one's class."""
        number = int(source)
        return f"{number} {copied(number)} {hidden(copied(number))[0]}"

    def content_settings(self) -> dict[str, str]:
        """None: a number's text is the same whatever the number of items."""
        return {}


def items_of(start: int, stop: int) -> Iterator[Item]:
    """The items of these numbers."""
    for number in range(start, stop):
        label, wrong = hidden(copied(number))
        yield Item(
            item_id=f"item-{number:07d}",
            source=str(number),
            label=f"class {(label + wrong) % CLASSES}",
            split=SPLITS.get(number % 10, "train"),
        )


def copied(number: int) -> int:
    """The number that this one is nearly a copy of: itself, but for one in COPIES, of test, which is one of train."""
    return number - 57 if number % COPIES == COPIES - 10 else number


def hidden(number: int) -> tuple[int, int]:
    """The class of a number, and how many classes beside it its label is: 0 but for one in WRONG."""
    drawn = int.from_bytes(hashlib.blake2b(str(number).encode(), digest_size=6).digest())
    label, rest = drawn % CLASSES, drawn // CLASSES
    return label, 1 + rest % (CLASSES - 1) if rest // CLASSES % WRONG == 0 else 0
