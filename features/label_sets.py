"""Sets of labels as one text: a JSON list of distinct names in order, `["car", "tree"]`; no label at all is `[]`.

A manifest's column of labels holds this text where items have several labels each, or none.
"""

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache


def join(names: Iterable[str]) -> str:
    """The text of a set of names."""
    return json.dumps(sorted(set(names)), ensure_ascii=False)


@lru_cache(maxsize=1 << 16)
def split(label: str) -> tuple[str, ...]:
    """The names of a text that `join` made. Raises ValueError for any other text."""
    names = json.loads(label) if label.startswith("[") else None
    if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError(f"no list of names: {label}")
    if label != join(names):
        raise ValueError(f"names that are not distinct and in order: {label}")
    return tuple(names)


def names_of(labels: Iterable[str]) -> list[str]:
    """All names that occur in sets of labels, in order."""
    return sorted({name for label in set(labels) for name in split(label)})


def in_words(names: Sequence[str]) -> str:
    """A set for people: `car, tree`, or `(none)`."""
    return ", ".join(names) or "(none)"
