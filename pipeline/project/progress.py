"""Progress of a long task: a bar on a terminal; elsewhere (a log, a pipe, CI) a line of the log now and then."""

import logging
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any, Self

from tqdm import tqdm

INTERVAL_S = 30.0  # between two lines
logger = logging.getLogger("icebox")


class LoggedProgress:
    """The part of tqdm's interface that is used here, told in lines: every INTERVAL_S seconds, also while one step
    takes longer than that."""

    def __init__(
        self,
        iterable: Iterable[Any] | None = None,
        *,
        desc: str,
        unit: str,
        total: int | None = None,
        initial: int = 0,
    ) -> None:
        self.iterable, self.desc, self.unit, self.total = iterable, desc, unit, total
        self.initial = self.n = initial
        self.postfix = ""
        self.began_s = time.monotonic()
        self.closed = threading.Event()
        threading.Thread(target=self._log_until_closed, daemon=True).start()

    def update(self, n: int = 1) -> None:
        """Advance by n."""
        self.n += n

    def set_postfix(self, refresh: bool = True, **values: str) -> None:
        """Values at a line's end."""
        self.postfix = ", ".join(f"{name} {value}" for name, value in values.items())

    def close(self) -> None:
        """End the lines."""
        self.closed.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Any]:
        with self:
            for item in self.iterable or ():
                yield item
                self.update()

    def sentence(self) -> str:
        """`extract photos: 12,000 of 60,000 items, 410 a second, 2 min left, loss 0.31`."""
        elapsed_s = time.monotonic() - self.began_s
        counted = f"{self.n:,} of {self.total:,}" if self.total else f"{self.n:,}"
        parts = [f"{counted} {self.unit}s"]
        if self.n == self.initial:
            return f"{self.desc}: {parts[0]} after {duration(elapsed_s)}"
        rate = (self.n - self.initial) / elapsed_s
        parts.append(f"{rate:,.0f} a second" if rate >= 10 else f"{rate * 60:,.1f} a minute")
        if self.total:
            parts.append(f"{duration((self.total - self.n) / rate)} left")
        return f"{self.desc}: {', '.join([*parts, *filter(None, [self.postfix])])}"

    def _log_until_closed(self) -> None:
        while not self.closed.wait(INTERVAL_S):
            logger.info(self.sentence())


def bar(iterable: Iterable[Any] | None = None, **options: Any) -> Any:
    """A progress bar with tqdm's options `desc`, `unit`, `total`, `initial`, to be advanced by `update`.

    On a terminal it is drawn, unless only warnings are wanted; elsewhere it is told in lines of the log.
    """
    if sys.stderr.isatty():
        return tqdm(iterable, disable=not logger.isEnabledFor(logging.INFO), **options)
    return LoggedProgress(iterable, **options)


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
