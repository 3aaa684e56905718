"""The queue of shards that an engine's workers still have to make: lost ones come first, a limited number of times."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from icebox.features.engines.worker import LOSSES_MAX, lost
from icebox.features.extraction.views import ViewItem


class Part(NamedTuple):
    """The items of one shard, and its number in this run."""

    number: int
    items: Sequence[ViewItem]


class PartQueue:
    """Parts in their order, drawn from the planner one by one, so that only those on the way are in memory."""

    def __init__(self, parts: Iterable[Sequence[ViewItem]]) -> None:
        self._fresh = iter(enumerate(parts))
        self._returned: list[Part] = []
        self._losses: Counter[int] = Counter()

    def take(self) -> Part | None:
        """The next part; None where there is none now."""
        if self._returned:
            return self._returned.pop(0)
        following = next(self._fresh, None)
        return None if following is None else Part(*following)

    def holds(self, count: int) -> bool:
        """Whether there are so many parts now."""
        while len(self._returned) < count:
            following = next(self._fresh, None)
            if following is None:
                return False
            self._returned.append(Part(*following))
        return True

    def give_back(self, part: Part, *, ending: str | None) -> None:
        """Put a part back. `ending` is how the worker ended that was at it; None where none was.

        Raises IceboxError once too many have.
        """
        if ending is not None:
            self._losses[part.number] += 1
            if self._losses[part.number] >= LOSSES_MAX:
                raise lost(part.items, ending)
        self._returned.append(part)
        self._returned.sort(key=lambda each: each.number)
