"""Splits: which of train, val, test and further test sets an item lies in, and how those without one are drawn."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SPLITS = ("train", "val", "test")
PUBLISHED_NAMES = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test",
}  # fmt: skip
FURTHER_TEST = re.compile(r"test-[a-z0-9_.]+")  # test-mismatched: scored like test, never used to choose


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """What is drawn as one: the items of a group, or those of equal content. `label` is the commonest of theirs."""

    identity: str
    label: str
    items: int


def is_split(name: str) -> bool:
    """Whether this may be a split's name."""
    return name in SPLITS or FURTHER_TEST.fullmatch(name) is not None


def canonical_split_name(name: str) -> str:
    """Our name for a split that a published dataset names: `Validation` → `val`; any other name stays as it is."""
    stripped = name.strip()
    return PUBLISHED_NAMES.get(stripped.lower(), stripped)


def side(split: str) -> str:
    """train, val or test: all test sets are one side, since nothing is learnt from any of them."""
    return split if split in ("train", "val") else "test"


def in_order(splits: Iterable[str]) -> list[str]:
    """The splits that occur: train, val and test first, further test sets by name."""
    found = set(splits)
    return [*(split for split in SPLITS if split in found), *sorted(found - set(SPLITS))]


def units(items: Iterable[tuple[str, str]]) -> list[Unit]:
    """The units of (identity, label) items, in the order of their first."""
    labels: dict[str, Counter[str]] = {}
    for identity, label in items:
        labels.setdefault(identity, Counter())[label] += 1
    return [
        Unit(identity=identity, label=min(of, key=lambda label: (-of[label], label)), items=of.total())
        for identity, of in labels.items()
    ]


def draw(drawn: Sequence[Unit], *, val: float, test: float, seed: int, stratify: bool) -> dict[str, str]:
    """A split for each unit's identity; `val` and `test` are fractions.

    Plain: a unit's hash alone says its split, so new items never move old ones, and the fractions hold as well as a
    die would keep them. Stratified: within each class the units stand in the order of their hashes and are cut at the
    fractions, exactly where each is one item, else to the nearest unit. New items may then move those next to a cut;
    both at once can't be had without remembering what was drawn before.
    """
    place = {unit.identity: position(unit.identity, seed) for unit in drawn}
    if stratify:
        place = ranked(drawn, place)
    return {identity: cut(at, val=val, test=test) for identity, at in place.items()}


def position(identity: str, seed: int) -> float:
    """Where in [0, 1) an identity falls: it hangs on nothing else."""
    digest = hashlib.sha256(f"{seed}:{identity}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def ranked(drawn: Sequence[Unit], place: dict[str, float]) -> dict[str, float]:
    """Each unit's middle, as a share of its class's items, where they stand in the order of `place`."""
    total = Counter[str]()
    for unit in drawn:
        total[unit.label] += unit.items
    before = Counter[str]()
    shares = {}
    for unit in sorted(drawn, key=lambda unit: place[unit.identity]):
        shares[unit.identity] = (before[unit.label] + unit.items / 2) / total[unit.label]
        before[unit.label] += unit.items
    return shares


def cut(at: float, *, val: float, test: float) -> str:
    """The split of a place in [0, 1)."""
    if at < test:
        return "test"
    return "val" if at < test + val else "train"
