"""Remarks on items that are taken all the same: a decoder's warnings, collected for the item that is being prepared."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_collecting: ContextVar[list[str] | None] = ContextVar("remarks", default=None)


@contextmanager
def collected() -> Iterator[list[str]]:
    """Within it the remarks of this thread go to the list that it yields."""
    remarks: list[str] = []
    token = _collecting.set(remarks)
    try:
        yield remarks
    finally:
        _collecting.reset(token)


def add(remark: str) -> None:
    """Note what a reader of the item's features ought to know; lost where nobody collects."""
    remarks = _collecting.get()
    if remarks is not None and remark not in remarks:
        remarks.append(remark)
