"""The error that is meant for the person at the keyboard, and the parts that its messages share."""

import copy
import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, Self

Hint = Literal[
    "allow leakage",
    "choose other outputs",
    "end the other process",
    "extract",
    "extract again",
    "extract or restore",
    "make the backbone again",
    "make the manifest again",
    "name more views",
    "skip unreadable items",
]


class IceboxError(Exception):
    """Something the user can mend. The message says where, what was expected, what was found, what to do.

    The message holds for everyone who calls this package. `hint` names advice that depends on the way in which it is
    used (a command to run, a file to edit); that way's own code has the wording, filled in with `values`.
    """

    def __init__(self, message: str, *, hint: Hint | None = None, **values: str) -> None:
        super().__init__(message)
        self.hint = hint
        self.values = values

    def at(self, place: str, *, separator: str = ": ") -> Self:
        """A copy of the error whose message begins with the place that it arose in (`stores.digits: …`)."""
        located = copy.copy(self)
        located.args = (f"{place}{separator}{self}",)
        return located


class ItemError(IceboxError):
    """One item's content can't be read as what it should be (a truncated image, say)."""


@contextmanager
def located(place: str, *, separator: str = ": ") -> Iterator[None]:
    """Put the place before the message of an IceboxError that is raised within."""
    try:
        yield
    except IceboxError as error:
        raise error.at(place, separator=separator) from error


def suggestion(name: str, known: list[str]) -> str:
    """ "did you mean 'x'?" where a known name is near, else the list of all known names."""
    folded = {k.lower(): k for k in reversed(known)}
    near = [folded[f] for f in difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.5)]
    near = near or [k for k in known if name and name in k][:1]
    return f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(known) or 'none'}"
