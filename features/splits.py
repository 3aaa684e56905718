"""Splits: the names of train, val, test and further test sets, and the draw for items that have none."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

SPLITS = ("train", "val", "test")
PUBLISHED_NAMES = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "validate": "val", "dev": "val", "devel": "val",
    "development": "val",
    "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
}  # fmt: skip
NOUN = re.compile(r"[ _-]*(?:set|split|data|dataset|images?|imgs|pictures)$")  # train_set, test images
FURTHER_TEST = re.compile(r"test-[a-z0-9_.]+")  # test-mismatched: scored like test, never used to choose


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitUnit:
    """Items that are drawn as one: those of a group, or those of equal content. `label` is their most frequent one."""

    identity: str
    label: str
    items: int


def is_split(name: str) -> bool:
    """Whether this may be a split's name."""
    return name in SPLITS or FURTHER_TEST.fullmatch(name) is not None


@lru_cache(maxsize=1 << 10)
def canonical_split_name(name: str) -> str:
    """Our name for a split that a published dataset names: `Validation` → `val`, `Train_Set` → `train`,
    `Test-Night` → `test-night`; any other name stays as it is."""
    lower = name.strip().lower()
    known = PUBLISHED_NAMES.get(lower) or PUBLISHED_NAMES.get(NOUN.sub("", lower))
    return known or (lower if is_split(lower) else name.strip())


def split_within(name: str) -> str:
    """The split that the first such word of a name or path names, or "": `pets-train-000`, `seg_train` → train."""
    words = re.split(r"[^a-z]+", name.lower())
    return next((PUBLISHED_NAMES[word] for word in words if word in PUBLISHED_NAMES), "")


def side(split: str) -> str:
    """train, val or test: all test sets are one side, since nothing is learned from any of them."""
    return split if split in ("train", "val") else "test"


def in_order(splits: Iterable[str]) -> list[str]:
    """The distinct splits: train, val and test first, further test sets by name."""
    distinct = set(splits)
    return [*(split for split in SPLITS if split in distinct), *sorted(distinct - set(SPLITS))]


def split_units(items: Iterable[tuple[str, str]]) -> list[SplitUnit]:
    """The units of (identity, label) items, in the order of their first item."""
    labels: dict[str, Counter[str]] = {}
    for identity, label in items:
        labels.setdefault(identity, Counter())[label] += 1
    return [
        SplitUnit(
            identity=identity,
            label=min(counts, key=lambda label: (-counts[label], label)),
            items=counts.total(),
        )
        for identity, counts in labels.items()
    ]


def draw(units: Sequence[SplitUnit], *, val: float, test: float, seed: int, stratify: bool) -> dict[str, str]:
    """A split for each unit's identity; `val` and `test` are fractions.

    Plain: a unit's hash alone decides, so new items never move old ones, and the fractions hold as well as a die would
    keep them. Stratified: within each class the units stand in the order of their hashes and are divided at the
    fractions, exactly where each is one item, else to the nearest unit. New items may then move those next to a
    boundary; both at once can't be had without remembering what was drawn before.
    """
    positions = {unit.identity: position(unit.identity, seed) for unit in units}
    if stratify:
        positions = stratified_positions(units, positions)
    return {identity: split_at(place, val=val, test=test) for identity, place in positions.items()}


def position(identity: str, seed: int) -> float:
    """A unit's position in [0, 1): a hash of its identity and the seed, and of nothing else."""
    digest = hashlib.sha256(f"{seed}:{identity}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def stratified_positions(units: Sequence[SplitUnit], positions: dict[str, float]) -> dict[str, float]:
    """Each unit's middle as a share of its class's items, with the units in the order of `positions`."""
    total = Counter[str]()
    for unit in units:
        total[unit.label] += unit.items
    before = Counter[str]()
    shares = {}
    for unit in sorted(units, key=lambda unit: positions[unit.identity]):
        shares[unit.identity] = (before[unit.label] + unit.items / 2) / total[unit.label]
        before[unit.label] += unit.items
    return shares


def split_at(place: float, *, val: float, test: float) -> str:
    """The split of a position in [0, 1): test comes first, then val, then train."""
    if place < test:
        return "test"
    return "val" if place < test + val else "train"
