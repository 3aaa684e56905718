"""What stands on two sides of a split, or under two labels: found in a manifest's rows, and left out on choice."""

import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from icebox.features.errors import IceboxError
from icebox.features.manifest.manifest import Row
from icebox.features.manifest.validation import SHOWN, Task
from icebox.features.splits import side

Leakage = Literal["error", "drop", "allow"]
Conflicts = Literal["keep", "drop"]
SIDES = ("train", "val", "test")
LISTED = 50  # clusters in the findings' file


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Clusters of items that should make somebody look; `dropped` counts by split what was left out for it."""

    kind: str
    says: str
    clusters: list[list[Row]]
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def items(self) -> int:
        """How many items the clusters have together."""
        return sum(len(cluster) for cluster in self.clusters)

    def sentence(self) -> str:
        """One line for the terminal."""
        names = ", ".join(named(cluster) for cluster in self.clusters[:SHOWN])
        more = " …" if len(self.clusters) > SHOWN else ""
        gone = "; ".join(f"{count:,} left out of {split}" for split, count in sorted(self.dropped.items()))
        return f"{self.says}: {len(self.clusters):,} ({self.items:,} items), {names}{more}{gone and f'; {gone}'}"

    def as_json(self) -> dict[str, Any]:
        """The same for the findings' file: counts, and the first clusters with the id, split and label of each item."""
        return {
            "kind": self.kind,
            "says": self.says,
            "count": len(self.clusters),
            "items": self.items,
            "dropped": dict(sorted(self.dropped.items())),
            "first": [
                [{"item_id": row.item_id, "split": row.split, "label": row.label} for row in cluster]
                for cluster in self.clusters[:LISTED]
            ],
        }


def settle(
    rows: Sequence[Row], *, leakage: Leakage, conflicts: Conflicts, task: Task = "classification"
) -> tuple[list[Row], list[Finding]]:
    """The rows that stay, and what was found in all of them.

    A content or group on two sides is an error, or is dropped from train (from val where test has it too), or stays.
    Contents with conflicting labels stay, or are dropped from train and val. Test sets are never shortened: they are
    what others measure on. Raises IceboxError for leakage that nobody allowed.
    """
    contents = shared(rows, lambda row: row.item_key)
    groups = shared([row for row in rows if row.group], lambda row: row.group)
    leaks = [
        Finding(
            kind="content_on_two_sides",
            says="contents on two sides of the split",
            clusters=[cluster for cluster in contents if straddles(cluster)],
        ),
        Finding(
            kind="group_on_two_sides",
            says="groups on two sides of the split",
            clusters=[cluster for cluster in groups if straddles(cluster)],
        ),
    ]
    if leakage == "error" and (found := [leak for leak in leaks if leak.clusters]):
        raise IceboxError(
            f"leakage: {'; '.join(leak.sentence() for leak in found)}. What a head learnt it must not be tested on",
            hint="allow leakage",
        )
    value: Callable[[str], Hashable] = float if task == "regression" else str
    quarrels = Finding(
        kind="conflicting_labels",
        says="contents with conflicting labels",
        clusters=[cluster for cluster in contents if len({value(row.label) for row in cluster}) > 1],
    )
    gone: set[str] = set()
    if leakage == "drop":
        for leak in leaks:
            gone |= leave_out(leak, lambda row, cluster: side(row.split) != last_side(cluster), gone)
    if conflicts == "drop":
        gone |= leave_out(quarrels, lambda row, _: side(row.split) != "test", gone)
    kept = [row for row in rows if row.item_id not in gone]
    repeats = Finding(
        kind="repeated_contents",
        says="contents that occur more than once",
        clusters=[cluster for cluster in contents if not straddles(cluster)],
    )
    found = [*leaks, quarrels, repeats, *(doubtful_classes(kept) if task == "classification" else ())]
    return kept, [finding for finding in found if finding.clusters]


def shared(rows: Sequence[Row], key: Callable[[Row], str]) -> list[list[Row]]:
    """The rows that have a key in common with others, in clusters, in the order of their first."""
    clusters: dict[str, list[Row]] = {}
    for row in rows:
        clusters.setdefault(key(row), []).append(row)
    return [cluster for cluster in clusters.values() if len(cluster) > 1]


def straddles(cluster: Sequence[Row]) -> bool:
    """Whether these rows lie on more than one of the sides train, val and test."""
    return len({side(row.split) for row in cluster}) > 1


def last_side(cluster: Sequence[Row]) -> str:
    """The side that keeps its items: test before val before train."""
    return max((side(row.split) for row in cluster), key=SIDES.index)


def leave_out(finding: Finding, loses: Callable[[Row, list[Row]], bool], gone: set[str]) -> set[str]:
    """The ids of the items that lose their place for this finding; those that are not `gone` yet are counted in it."""
    leaving = {row.item_id: row.split for cluster in finding.clusters for row in cluster if loses(row, cluster)}
    finding.dropped.update(split for item_id, split in leaving.items() if item_id not in gone)
    return set(leaving)


def doubtful_classes(rows: Sequence[Row]) -> list[Finding]:
    """Classes that look like one, and classes that nothing could be learnt about."""
    first = {row.label: row for row in reversed(rows)}
    alike = shared([first[label] for label in sorted(first)], lambda row: plain(row.label))
    taught = {row.label for row in rows if row.split == "train"}
    return [
        Finding(
            kind="similar_classes",
            says="classes that differ only in case, spaces or the form of their letters",
            clusters=alike,
        ),
        Finding(
            kind="classes_not_in_train",
            says="classes without an item in train, which no head can learn (try split.stratify or other fractions)",
            clusters=[[row for row in rows if row.label == label] for label in sorted(first.keys() - taught)],
        ),
    ]


def plain(label: str) -> str:
    """A label without what the eye passes over."""
    return " ".join(unicodedata.normalize("NFKC", label).casefold().split())


def named(cluster: Sequence[Row]) -> str:
    """A few items of a cluster by name, one of each split and label first: `a.png (train, cat) = b.png (test, cat)`."""
    before = Counter[tuple[str, str]]()
    rank = {}
    for row in cluster:
        rank[row.item_id] = before[row.split, row.label]
        before[row.split, row.label] += 1
    shown = sorted(cluster, key=lambda row: rank[row.item_id])[:SHOWN]
    names = " = ".join(f"{row.item_id} ({row.split}, {row.label})" for row in shown)
    return f"{names} = …" if len(cluster) > SHOWN else names
