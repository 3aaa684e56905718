"""New items for a head on a joined store, whose members may be of several datasets: each reads its own part of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from icebox.features.abc.dataset import Content, Modality
from icebox.features.errors import IceboxError
from icebox.features.names import in_line
from icebox.pipeline.inference.reading.new_items import NewItem, Reading


@dataclass(frozen=True)
class JoinedContent:
    """The contents of one item, one for each member."""

    parts: Sequence[Content]


@dataclass(frozen=True)
class JoinedReading:
    """How items are read for each member of a joined store. Members of one dataset read an item once.

    Members of several datasets all read the same inputs, such as a table that has the columns of each, and what they
    read is joined by id.
    """

    readings: Sequence[Reading]

    @classmethod
    def of(cls, readings: Sequence[Reading]) -> "Reading | JoinedReading":
        """The reading of the first where all are of one dataset."""
        same = all(
            (each.source, each.parameters, each.clean)
            == (readings[0].source, readings[0].parameters, readings[0].clean)
            for each in readings
        )
        return readings[0] if same else cls(readings)

    @property
    def modality(self) -> Modality:
        """That of the first member's items."""
        return self.readings[0].modality

    def with_source(self, source: str | None, settings: Sequence[str]) -> "JoinedReading":
        """This reading. Raises IceboxError for another source or settings: of which member's dataset would they be?"""
        if source is not None or settings:
            raise IceboxError(
                "--source and --set are of one dataset, and this head takes items of several; give a table with the "
                f"columns that each has: {self.needs()}"
            )
        return self

    def items(self, inputs: Sequence[str], *, labelled: bool = False) -> Iterator[NewItem]:
        """The items of the first member's dataset in their order, with the others' contents beside.

        Raises IceboxError for an input that a member's dataset can't read, and for an item that one of them lacks.
        """
        first, *others = self.readings
        try:
            # labels are the first's; another's column of labels need not be there
            by_id = [{item.item_id: item for item in each.items(inputs)} for each in others]
            items = list(first.items(inputs, labelled=labelled))
        except IceboxError as error:
            raise IceboxError(
                f"{error}; this head takes items of {len(self.readings)} datasets together, from inputs that all can "
                f"read: {self.needs()}"
            ) from None
        for item in items:
            for reading, known in zip(others, by_id, strict=True):
                if item.item_id not in known:
                    raise IceboxError(
                        f"{item.place}: {reading.source} gives no item '{in_line(item.item_id)}' for it; give both "
                        "parts of each item one id"
                    )
            parts = [item, *(known[item.item_id] for known in by_id)]
            read: Any = partial(read_all, parts)
            yield NewItem(item.item_id, item.place, read, item.label, item.group, item.split)

    def require_read(self, X: Any) -> None:
        """Raise IceboxError unless these are items that `read` gave: one raw item has one member's content only."""
        if not all(isinstance(each, NewItem) for each in X):
            raise IceboxError(
                f"expected items as `read` gives them, since each has a content for {len(self.readings)} datasets: "
                f"{self.needs()}"
            )

    def needs(self) -> str:
        """The sources of all members, with the parameters that name columns."""
        names = ("path", "image", "text", "first", "second", "x", "id", "ids")
        return "; ".join(
            f"{each.source} ("
            + ", ".join(f"{name}: {each.parameters[name]}" for name in names[1:] if name in each.parameters)
            + ")"
            for each in self.readings
        )


def read_all(items: Sequence[NewItem]) -> JoinedContent:
    """The contents of one item's parts."""
    return JoinedContent([item.read() for item in items])
