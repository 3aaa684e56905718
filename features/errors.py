"""The error that is meant for the person at the keyboard, and the parts that its messages share."""

import copy
import difflib
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, Self

Hint = Literal[
    "allow leakage",
    "choose a device",
    "choose other outputs",
    "end the other process",
    "extract",
    "extract again",
    "extract or restore",
    "join",
    "make the backbone again",
    "make the manifest again",
    "name more views",
    "repair the store",
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


class NotApplicable(IceboxError):
    """Two things, each of them in order, can't go together: a head that needs what this store does not hold."""


class ItemError(IceboxError):
    """One item's content can't be read as what it should be (a truncated image, say)."""


@contextmanager
def located(place: str, *, separator: str = ": ") -> Iterator[None]:
    """Put the place before the message of an IceboxError that is raised within."""
    try:
        yield
    except IceboxError as error:
        raise error.at(place, separator=separator) from error


# the causes for which a file that may well be whole can't be read or written now → what to do about them
SYSTEM_ADVICE = {
    errno.EMFILE: "close files, or raise the limit (ulimit -n)",
    errno.ENFILE: "close programs that hold many files open",
    errno.EACCES: "make it accessible for you (chmod), or ask its owner",
    errno.EPERM: "make it accessible for you (chmod), or ask its owner",
    errno.ENOMEM: "end other programs, or take less at once",
    errno.ENOENT: "put it back, or make it",
    errno.EEXIST: "move away what lies there, or name another place",
    errno.ENOTDIR: "a folder is needed where a file lies: move it away, or name another place",
    errno.EISDIR: "a file is needed where a folder lies: move it away, or name another place",
    errno.ENAMETOOLONG: "give it a shorter name",
    errno.ELOOP: "its links lead in a circle: put the file itself there",
}
LOW_MEMORY = ("can't start new thread", "can't allocate memory", "not enough memory")  # in RuntimeErrors of libraries


def cause(reason: BaseException) -> str:
    """The cause of an error of the operating system in its own words, without the place."""
    if isinstance(reason, MemoryError):
        return "not enough memory"
    number = reason.errno if isinstance(reason, OSError) else None
    return os.strerror(number) if number else " ".join(str(reason).split()) or type(reason).__name__


def system_error(reason: BaseException, place: object = None) -> IceboxError | None:
    """The operating system's refusal (too many open files, no permission, a dead disk, no memory) in one line.

    `place` is the file or folder where the error does not name it. None for an error of another kind.
    """
    if isinstance(reason, OSError) and reason.errno:
        place = place or reason.filename
        advice = SYSTEM_ADVICE.get(reason.errno, "look at the disk or the network behind it")
    elif isinstance(reason, MemoryError) or (
        isinstance(reason, RuntimeError) and any(text in str(reason) for text in LOW_MEMORY)
    ):
        advice = SYSTEM_ADVICE[errno.ENOMEM]
    else:
        return None
    return IceboxError(f"{f'{place}: ' if place else ''}{cause(reason)}; {advice}, then run this again")


def suggestion(name: str, known: list[str]) -> str:
    """ "did you mean 'x'?" where a known name is near, else the list of all known names."""
    folded = {k.lower(): k for k in reversed(known)}
    near = [folded[f] for f in difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.5)]
    near = near or [k for k in known if name and name in k][:1]
    return f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(known) or 'none'}"
