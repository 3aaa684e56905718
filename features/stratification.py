"""Iterative stratification: units with several labels are divided into parts in which each label has its share.

Sechidis, Tsoumakas and Vlahavas (2011), On the Stratification of Multi-Label Data. The rarest label is dealt with
first, since its units have the least choice; a unit goes to the part that still lacks most of that label.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from icebox.features import splits

DIGITS = 9  # of what a part lacks: beyond them is rounding


@dataclass(kw_only=True, slots=True)
class LabelledUnit:
    """Items that are drawn as one, a group's or those of equal content: how many, and how many have each label."""

    identity: str
    items: int = 0
    labels: Counter[str] = field(default_factory=Counter)


def units_of(items: Iterable[tuple[str, Sequence[str]]]) -> list[LabelledUnit]:
    """The units of (identity, names) items, in the order of their first item."""
    units: dict[str, LabelledUnit] = {}
    for identity, names in items:
        unit = units.setdefault(identity, LabelledUnit(identity=identity))
        unit.items += 1
        unit.labels.update(names)
    return list(units.values())


def divide(units: Sequence[LabelledUnit], shares: Mapping[str, float], *, seed: int) -> dict[str, str]:
    """A part for each unit's identity; `shares` are the parts' fractions, which sum to 1.

    Units of one label are taken in the order of their hashes, those without a label last. Among parts that lack a label
    alike, the one goes first that lacks most items, then the first of `shares`.
    """
    total = Counter[str]()
    for unit in units:
        total.update(unit.labels)
    items = sum(unit.items for unit in units)
    lacking = {part: {label: share * count for label, count in total.items()} for part, share in shares.items()}
    lacking_items = {part: share * items for part, share in shares.items()}
    waiting = {
        unit.identity: unit
        for unit in sorted(units, key=lambda unit: (splits.position(unit.identity, seed), unit.identity))
    }
    having: dict[str, list[LabelledUnit]] = {label: [] for label in total}
    for unit in waiting.values():
        for label in unit.labels:
            having[label].append(unit)
    assigned: dict[str, str] = {}

    def assign(unit: LabelledUnit, label: str | None) -> None:
        def lack(part: str) -> tuple[float, float]:
            of_label = 0.0 if label is None else round(lacking[part][label], DIGITS)
            return of_label, round(lacking_items[part], DIGITS)

        part = max(shares, key=lack)
        assigned[unit.identity] = part
        lacking_items[part] -= unit.items
        for each, count in unit.labels.items():
            lacking[part][each] -= count
            total[each] -= count
        del waiting[unit.identity]

    while remaining := [(count, label) for label, count in total.items() if count > 0]:
        _, rarest = min(remaining)
        for unit in having[rarest]:
            if unit.identity in waiting:
                assign(unit, rarest)
    for unit in list(waiting.values()):
        assign(unit, None)
    return assigned
