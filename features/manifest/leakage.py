"""Leakage and conflicting labels in a manifest's rows: items on two sides of a split, or under two labels."""

import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from icebox.features import label_sets
from icebox.features.errors import IceboxError
from icebox.features.manifest.manifest import Manifest, ManifestRow
from icebox.features.manifest.validation import DENSE_TASKS, SHOWN, Task, is_number
from icebox.features.names import in_line
from icebox.features.splits import side

Leakage = Literal["error", "drop", "near", "allow"]
Conflicts = Literal["keep", "drop"]
SIDES = ("train", "val", "test")
LISTED = 50  # clusters in the file of findings
MISSING = {"nan", "NaN", "NAN", "NA", "N/A", "n/a", "null", "NULL", "Null", "None", "<NA>", "#N/A", "NaT", "?"}
LABELS = {"segmentation": "masks", "detection": "boxes"}  # by task; labels in the others
MANY_NUMBERS = 3  # items of a class, below which numbers as labels look like numbers to predict


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Clusters of items that need a look; `dropped` counts by split the items that were left out because of them.

    `named` says whether labels are names to be shown, not the hashes of targets.
    """

    kind: str
    description: str
    clusters: list[list[ManifestRow]]
    named: bool = True
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def items(self) -> int:
        """The number of items in all clusters."""
        return sum(len(cluster) for cluster in self.clusters)

    def sentence(self) -> str:
        """One line for the terminal."""
        names = ", ".join(names_of(cluster, labels=self.named) for cluster in self.clusters[:SHOWN])
        more = " …" if len(self.clusters) > SHOWN else ""
        gone = "; ".join(f"{count:,} left out of {split}" for split, count in sorted(self.dropped.items()))
        return f"{self.description}: {len(self.clusters):,} ({self.items:,} items), {names}{more}{gone and f'; {gone}'}"

    def as_json(self) -> dict[str, Any]:
        """The finding for a JSON file: counts, and the first clusters with the id, split and label of each item."""
        return {
            "kind": self.kind,
            "says": self.description,
            "count": len(self.clusters),
            "items": self.items,
            "dropped": dict(sorted(self.dropped.items())),
            "first": [
                [{"item_id": row.item_id, "split": row.split, "label": row.label * self.named} for row in cluster]
                for cluster in self.clusters[:LISTED]
            ],
        }


def resolve_leakage(
    rows: Sequence[ManifestRow], *, leakage: Leakage, conflicts: Conflicts, task: Task = "classification"
) -> tuple[Manifest, list[Finding]]:
    """(the rows that are kept, the findings in all rows).

    A content or group on two sides is an error, or is dropped from train (from val where test has it too), or stays.
    `near` is `drop` here: near-duplicates are only known by features, when heads are fitted.
    Contents with conflicting labels stay, or are dropped from train and val. Test sets are never shortened, since
    others measure on the same ones. Raises IceboxError for leakage where `leakage` is "error".
    """
    named = task not in DENSE_TASKS
    contents = shared(rows, lambda row: row.item_key)
    groups = shared([row for row in rows if row.group], lambda row: row.group)
    leaks = [
        Finding(
            kind="content_on_two_sides",
            description="contents on two sides of the split",
            clusters=[cluster for cluster in contents if straddles(cluster)],
            named=named,
        ),
        Finding(
            kind="group_on_two_sides",
            description="groups on two sides of the split",
            clusters=[cluster for cluster in groups if straddles(cluster)],
            named=named,
        ),
    ]
    if leakage == "error" and (clustered := [leak for leak in leaks if leak.clusters]):
        rename = "; where they share no more than a name, make `group` tell them apart" if leaks[1].clusters else ""
        raise IceboxError(
            f"leakage: {'; '.join(leak.sentence() for leak in clustered)}{rename}. "
            "What a head learnt it must not be tested on",
            hint="allow leakage",
        )
    alike = shared([row for row in rows if row.group], lambda row: normalized_label(row.group))
    similar = Finding(
        kind="similar_groups",
        description="groups on two sides of the split that differ only in case, spaces or the form of their letters",
        clusters=[cluster for cluster in alike if straddles(cluster) and len({row.group for row in cluster}) > 1],
        named=named,
    )
    value: Callable[[str], Hashable] = float if task == "regression" else str
    conflicting = Finding(
        kind="conflicting_labels",
        description=f"contents with conflicting {LABELS.get(task, 'labels')}",
        clusters=[cluster for cluster in contents if len({value(row.label) for row in cluster}) > 1],
        named=named,
    )
    dropped: set[str] = set()
    if leakage in ("drop", "near"):
        for leak in leaks:
            dropped |= drop(leak, lambda row, cluster: side(row.split) != last_side(cluster), dropped)
    if conflicts == "drop":
        dropped |= drop(conflicting, lambda row, _: side(row.split) != "test", dropped)
    kept = Manifest.of(row for row in rows if row.item_id not in dropped) if dropped else Manifest.of(rows)
    repeated = Finding(
        kind="repeated_contents",
        description="contents that occur more than once",
        clusters=[cluster for cluster in contents if not straddles(cluster)],
        named=named,
    )
    doubts = {"classification": doubtful_classes, "multilabel": doubtful_names}
    findings = [*leaks, similar, conflicting, repeated, *(doubts[task](kept) if task in doubts else ())]
    return kept, [finding for finding in findings if finding.clusters]


def shared(rows: Sequence[ManifestRow], key: Callable[[ManifestRow], str]) -> list[list[ManifestRow]]:
    """Clusters of the rows that share a key, in the order of their first row."""
    clusters: dict[str, list[ManifestRow]] = {}
    for row in rows:
        clusters.setdefault(key(row), []).append(row)
    return [cluster for cluster in clusters.values() if len(cluster) > 1]


def straddles(cluster: Sequence[ManifestRow]) -> bool:
    """Whether these rows lie on more than one of the sides train, val and test."""
    return len({side(row.split) for row in cluster}) > 1


def last_side(cluster: Sequence[ManifestRow]) -> str:
    """The side that keeps the cluster's items: test before val before train."""
    return max((side(row.split) for row in cluster), key=SIDES.index)


def drop(finding: Finding, leaves: Callable[[ManifestRow, list[ManifestRow]], bool], dropped: set[str]) -> set[str]:
    """Ids of the finding's items for which `leaves(row, its cluster)`; the finding counts those not yet `dropped`."""
    leaving = {row.item_id: row.split for cluster in finding.clusters for row in cluster if leaves(row, cluster)}
    finding.dropped.update(split for item_id, split in leaving.items() if item_id not in dropped)
    return set(leaving)


def doubtful_classes(rows: Sequence[ManifestRow]) -> list[Finding]:
    """Classes with nearly the same name, and classes without an item in train."""
    first = {row.label: row for row in reversed(rows)}
    similar = shared([first[label] for label in sorted(first)], lambda row: normalized_label(row.label))
    trained = {row.label for row in rows if row.split == "train"}
    if sum(map(is_number, first)) == len(first) > len(rows) / MANY_NUMBERS:
        advice = "; the labels are numbers, most of them different: did you mean task: regression?"
    else:
        advice = " (leave their rows out, move some into train, or, where splits are drawn, try split.stratify)"
    return [
        Finding(
            kind="similar_classes",
            description="classes that differ only in case, spaces or the form of their letters",
            clusters=similar,
        ),
        Finding(
            kind="missing_labels",
            description="classes called as other programs call a missing value (drop_labels leaves their rows out)",
            clusters=[[first[label]] for label in sorted(first.keys() & MISSING)],
        ),
        Finding(
            kind="joined_labels",
            description="classes that look like several labels of a row, each combination a class of its own (sets of "
            "labels are task: multilabel, label: {sep: …})",
            clusters=[[first[label]] for label in joined_labels(first)],
        ),
        Finding(
            kind="classes_not_in_train",
            description=f"classes without an item in train, which no head can learn{advice}",
            clusters=[[row for row in rows if row.label == label] for label in sorted(first.keys() - trained)],
        ),
    ]


def doubtful_names(rows: Sequence[ManifestRow]) -> list[Finding]:
    """Of sets of labels: names that are nearly the same, and names without an item in train."""
    first = {name: row for row in reversed(rows) for name in label_sets.split(row.label)}
    by_form: dict[str, list[str]] = {}
    for name in sorted(first):
        by_form.setdefault(normalized_label(name), []).append(name)
    trained = set(label_sets.names_of(row.label for row in rows if row.split == "train"))
    return [
        Finding(
            kind="similar_classes",
            description="labels that differ only in case, spaces or the form of their letters",
            clusters=[[first[name] for name in names] for names in by_form.values() if len(names) > 1],
        ),
        Finding(
            kind="missing_labels",
            description="labels called as other programs call a missing value (drop_labels takes them out of sets)",
            clusters=[[first[name]] for name in sorted(first.keys() & MISSING)],
        ),
        Finding(
            kind="classes_not_in_train",
            description="labels without an item in train, which no head can learn (take them out by drop_labels, move "
            "some into train, or, where splits are drawn, try split.stratify)",
            clusters=[
                [row for row in rows if name in label_sets.split(row.label)] for name in sorted(first.keys() - trained)
            ],
        ),
    ]


def joined_labels(labels: Iterable[str]) -> list[str]:
    """The labels that are made of others by a separator: `Effusion|Mass` where there is `Effusion` or `Mass|Nodule`.

    With a comma or semicolon, which names hold too, every part must be a label.
    """
    known = set(labels)
    parts = {label: [part.strip() for part in label.split("|")] for label in known}
    uses = Counter(part for several in parts.values() for part in set(several))
    joined = [label for label in known if len(parts[label]) > 1 and any(uses[part] > 1 for part in parts[label])]
    for separator in ",;":
        joined += [
            label for label in known if separator in label and known.issuperset(map(str.strip, label.split(separator)))
        ]
    return sorted(set(joined))


def normalized_label(label: str) -> str:
    """A label without differences of case, spaces and Unicode form."""
    return " ".join(unicodedata.normalize("NFKC", label).casefold().split())


def names_of(cluster: Sequence[ManifestRow], *, labels: bool) -> str:
    """A few items of a cluster, one of each split and label first: `a.png (train, cat) = b.png (test, cat)`."""
    before = Counter[tuple[str, str]]()
    rank = {}
    for row in cluster:
        rank[row.item_id] = before[row.split, row.label]
        before[row.split, row.label] += 1
    shown = sorted(cluster, key=lambda row: rank[row.item_id])[:SHOWN]
    names = " = ".join(
        f"{in_line(row.item_id)} ({row.split}{f', {in_line(row.label)}' if labels else ''})" for row in shown
    )
    return f"{names} = …" if len(cluster) > SHOWN else names
