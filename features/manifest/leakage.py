"""Leakage and conflicting labels in a manifest's rows: items on two sides of a split, or under two labels."""

import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from icebox.features import label_sets
from icebox.features.errors import IceboxError
from icebox.features.manifest import tables
from icebox.features.manifest.clusters import Clusters
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
    clusters: Clusters
    named: bool = True
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def items(self) -> int:
        """The number of items in all clusters."""
        return len(self.clusters.positions)

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
    rows: Iterable[ManifestRow], *, leakage: Leakage, conflicts: Conflicts, task: Task = "classification"
) -> tuple[Manifest, list[Finding]]:
    """(the rows that are kept, the findings in all rows).

    A content or group on two sides is an error, or is dropped from train (from val where test has it too), or stays.
    `near` is `drop` here: near-duplicates are only known by features, when heads are fitted.
    Contents with conflicting labels stay, or are dropped from train and val. Test sets are never shortened, since
    others measure on the same ones. Raises IceboxError for leakage where `leakage` is "error".
    """
    manifest = Manifest.of(rows)
    named = task not in DENSE_TASKS
    sides = sides_of(manifest)
    contents = Clusters.sharing(manifest, codes_of_keys(manifest))
    group_codes, group_names = manifest.codes("group")
    grouped = np.flatnonzero(np.array([bool(name) for name in group_names], bool)[group_codes])
    groups = Clusters.sharing(manifest, group_codes[grouped], grouped)
    leaks = [
        Finding(
            kind="content_on_two_sides",
            description="contents on two sides of the split",
            clusters=contents.where(contents.differ(sides)),
            named=named,
        ),
        Finding(
            kind="group_on_two_sides",
            description="groups on two sides of the split",
            clusters=groups.where(groups.differ(sides)),
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
    forms = numbered(map(normalized_label, group_names))[group_codes]
    alike = Clusters.sharing(manifest, forms[grouped], grouped)
    similar = Finding(
        kind="similar_groups",
        description="groups on two sides of the split that differ only in case, spaces or the form of their letters",
        clusters=alike.where(alike.differ(sides) & alike.differ(group_codes)),
        named=named,
    )
    labels, label_names = manifest.codes("label")
    values = numbered(map(float, label_names))[labels] if task == "regression" else labels
    conflicting = Finding(
        kind="conflicting_labels",
        description=f"contents with conflicting {LABELS.get(task, 'labels')}",
        clusters=contents.where(contents.differ(values)),
        named=named,
    )
    dropped = np.zeros(len(manifest), bool)
    if leakage in ("drop", "near"):
        for leak in leaks:
            of_last_side = leak.clusters.highest(sides)[leak.clusters.numbers]
            drop(leak, sides[leak.clusters.positions] != of_last_side, dropped)
    if conflicts == "drop":
        drop(conflicting, sides[conflicting.clusters.positions] != SIDES.index("test"), dropped)
    kept = manifest.take(np.flatnonzero(~dropped)) if dropped.any() else manifest
    repeated = Finding(
        kind="repeated_contents",
        description="contents that occur more than once",
        clusters=contents.where(~contents.differ(sides)),
        named=named,
    )
    doubts = {"classification": doubtful_classes, "multilabel": doubtful_names}
    findings = [*leaks, similar, conflicting, repeated, *(doubts[task](kept) if task in doubts else ())]
    return kept, [finding for finding in findings if finding.clusters]


def sides_of(manifest: Manifest) -> np.ndarray:
    """The side (n,) of each row, a position in SIDES: test comes last, and keeps what is on several."""
    codes, names = manifest.codes("split")
    return np.array([SIDES.index(side(name)) for name in names], np.int64).take(codes)


def codes_of_keys(manifest: Manifest) -> np.ndarray:
    """A number (n,) for each row, the same for equal contents."""
    return tables.numbers(manifest.item_keys.dictionary_encode().indices).astype(np.int64)


def numbered(values: Iterable[Hashable]) -> np.ndarray:
    """A number (k,) for each value, the same for equal ones."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], np.int64)


def drop(finding: Finding, leaves: np.ndarray, dropped: np.ndarray) -> None:
    """Mark those of the finding's rows that leave in `dropped` (n,); the finding counts those not yet there."""
    clusters = finding.clusters
    leaving = np.unique(clusters.positions[leaves])
    finding.dropped.update(clusters.manifest.take(leaving[~dropped[leaving]]).split_counts())
    dropped[leaving] = True


def doubtful_classes(rows: Manifest) -> list[Finding]:
    """Classes with nearly the same name, and classes without an item in train."""
    codes, names = rows.codes("label")
    present, first_rows = np.unique(codes, return_index=True)
    first = {names[code]: row for code, row in zip(present.tolist(), first_rows.tolist(), strict=True)}
    trained = {names[code] for code in np.unique(codes[rows.positions("train")]).tolist()}
    if sum(map(is_number, first)) == len(first) > len(rows) / MANY_NUMBERS:
        advice = "; the labels are numbers, most of them different: did you mean task: regression?"
    else:
        advice = " (leave their rows out, move some into train, or, where splits are drawn, try split.stratify)"
    untrained = sorted(first.keys() - trained)
    number = {name: code for code, name in enumerate(names)}
    return [
        Finding(
            kind="similar_classes",
            description="classes that differ only in case, spaces or the form of their letters",
            clusters=Clusters.of_lists(rows, ([first[name] for name in alike] for alike in similar_names(first))),
        ),
        Finding(
            kind="missing_labels",
            description="classes called as other programs call a missing value (drop_labels leaves their rows out)",
            clusters=Clusters.of_lists(rows, ([first[label]] for label in sorted(first.keys() & MISSING))),
        ),
        Finding(
            kind="joined_labels",
            description="classes that look like several labels of a row, each combination a class of its own (sets of "
            "labels are task: multilabel, label: {sep: …})",
            clusters=Clusters.of_lists(rows, ([first[label]] for label in joined_labels(first))),
        ),
        Finding(
            kind="classes_not_in_train",
            description=f"classes without an item in train, which no head can learn{advice}",
            clusters=Clusters.of_lists(rows, rows_with(codes, [[number[name]] for name in untrained])),
        ),
    ]


def doubtful_names(rows: Manifest) -> list[Finding]:
    """Of sets of labels: names that are nearly the same, and names without an item in train."""
    codes, sets = rows.codes("label")
    present, first_rows = np.unique(codes, return_index=True)
    first: dict[str, int] = {}
    having: dict[str, list[int]] = {}  # the sets, by their code, that a name is in
    for code, row in zip(present.tolist(), first_rows.tolist(), strict=True):
        for name in label_sets.split(sets[code]):
            first[name] = min(row, first.get(name, row))
            having.setdefault(name, []).append(code)
    trained = set(label_sets.names_of(sets[code] for code in np.unique(codes[rows.positions("train")]).tolist()))
    untrained = sorted(first.keys() - trained)
    return [
        Finding(
            kind="similar_classes",
            description="labels that differ only in case, spaces or the form of their letters",
            clusters=Clusters.of_lists(rows, ([first[name] for name in alike] for alike in similar_names(first))),
        ),
        Finding(
            kind="missing_labels",
            description="labels called as other programs call a missing value (drop_labels takes them out of sets)",
            clusters=Clusters.of_lists(rows, ([first[name]] for name in sorted(first.keys() & MISSING))),
        ),
        Finding(
            kind="classes_not_in_train",
            description="labels without an item in train, which no head can learn (take them out by drop_labels, move "
            "some into train, or, where splits are drawn, try split.stratify)",
            clusters=Clusters.of_lists(rows, rows_with(codes, [having[name] for name in untrained])),
        ),
    ]


def similar_names(names: Iterable[str]) -> list[list[str]]:
    """Those of the names that are one but for case, spaces and the form of letters, in order."""
    by_form: dict[str, list[str]] = {}
    for name in sorted(names):
        by_form.setdefault(normalized_label(name), []).append(name)
    return [alike for alike in by_form.values() if len(alike) > 1]


def rows_with(codes: np.ndarray, wanted: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """For each of `wanted`, the positions of the rows with one of its codes."""
    order = np.argsort(codes, kind="stable")
    found = [np.searchsorted(codes[order], [(code, code + 1) for code in each]) for each in wanted]
    return [np.sort(np.concatenate([order[start:stop] for start, stop in each])) for each in found]


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
