"""Groups by a regular expression that is searched in the items' names, for a bounded time."""

import re
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from icebox.features.errors import IceboxError
from icebox.features.json_files import one_line

LIMIT_S = 2.0  # for a few names; a usual pattern takes microseconds
PER_NAME_S = 0.001


class SearchTimeout(Exception):
    """A pattern took too long."""


def match_groups(names: Sequence[str], pattern: str) -> list[str]:
    """The group of each name: the first group of `pattern`, or else its whole match.

    Raises IceboxError for a pattern that is wrong, finds nothing in a name, or takes too long, as nested repeats may.
    """
    groups: list[str] = []
    name = ""
    try:
        compiled = re.compile(pattern)
        with time_limit(max(LIMIT_S, PER_NAME_S * len(names))):
            for name in names:
                match = compiled.search(name)
                group = match and match[1 if compiled.groups else 0]
                if not group:
                    raise IceboxError(f"group: {pattern!r} finds nothing in {name}; widen it, so each path has a group")
                groups.append(group)
    except (re.error, OverflowError, RecursionError) as error:
        raise IceboxError(f"group: {pattern!r} is not a regular expression: {one_line(error)}") from error
    except SearchTimeout:
        raise IceboxError(
            f"group: {pattern!r} takes more than {LIMIT_S:g} s at {name}; avoid a repeat within a repeat, such as (.*)*"
        ) from None
    return groups


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise SearchTimeout after some time, by the alarm signal, which `re` heeds while it searches.

    There is no limit in other threads than the main one, or where there is no such signal (Windows).
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise SearchTimeout

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
