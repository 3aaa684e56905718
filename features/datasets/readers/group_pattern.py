"""Groups by a regular expression that is searched in each item's name, for a bounded time."""

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from icebox.features.errors import IceboxError

LIMIT_S = 2.0  # for one name; a usual pattern takes microseconds


class SearchTimeout(Exception):
    """A pattern took too long on one name."""


def match_group(name: str, pattern: str) -> str:
    """The group of a name: the first group of `pattern`, or else its whole match.

    Raises IceboxError for a pattern that is wrong, finds nothing, or takes longer than LIMIT_S, as nested repeats may.
    """
    try:
        with time_limit(LIMIT_S):
            match = re.search(pattern, name)
    except (re.error, OverflowError, RecursionError) as error:
        raise IceboxError(f"group: {pattern!r} is not a regular expression: {error}") from error
    except SearchTimeout:
        raise IceboxError(
            f"group: {pattern!r} took more than {LIMIT_S:g} s on {name}; avoid a repeat within a repeat, such as (.*)*"
        ) from None
    group = match and match[1 if match.re.groups else 0]
    if not group:
        raise IceboxError(f"group: {pattern!r} finds nothing in {name}; widen it, so each path has a group")
    return group


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
