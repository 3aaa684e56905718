"""Leakage and drawn splits over columns, compared with going from row to row."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icebox.features import fingerprint, splits
from icebox.features.manifest import drawing, leakage, listing
from icebox.features.manifest.manifest import Manifest, ManifestRow
from icebox.features.names import canonical_name
from icebox.features.splits import side

Cluster = list[ManifestRow]
SETTINGS = settings(deadline=None, max_examples=120)
CONTENTS, LABELS = (
    [fingerprint.of_content(str(i)) for i in range(8)],
    ["cat", "Cat", "dog", "nan", "cat|dog", "1", "1.0"],
)
ROWS = st.lists(
    st.tuples(
        st.sampled_from(CONTENTS),
        st.sampled_from(LABELS),
        st.sampled_from(["train", "val", "test", "test-far"]),
        st.sampled_from(["", "", "a", "A", "a ", "b", CONTENTS[0]]),
    ),
    max_size=24,
)


def manifest_of(cells: Iterable[tuple[str, str, str, str]]) -> Manifest:
    return Manifest.of(
        ManifestRow(item_id=f"i{i}", item_key=key, label=label, split=split, group=group, source=str(i))
        for i, (key, label, split, group) in enumerate(cells)
    )


def shared(rows: Iterable[ManifestRow], key: Callable[[ManifestRow], Hashable]) -> list[Cluster]:
    clusters: dict[Hashable, Cluster] = {}
    for row in rows:
        clusters.setdefault(key(row), []).append(row)
    return [cluster for cluster in clusters.values() if len(cluster) > 1]


def straddles(cluster: Cluster) -> bool:
    return len({side(row.split) for row in cluster}) > 1


def row_by_row(
    rows: list[ManifestRow], *, drops: bool, conflicts: str, task: str
) -> tuple[list[ManifestRow], dict[str, list[Cluster]], dict[str, Counter[str]]]:
    """(rows that are kept, clusters by kind, counts of dropped rows by kind), with dictionaries and loops."""
    value = float if task == "regression" else str
    contents, grouped = shared(rows, lambda row: row.item_key), [row for row in rows if row.group]
    groups = shared(grouped, lambda row: row.group)
    alike = shared(grouped, lambda row: leakage.normalized_label(row.group))
    found = {
        "content_on_two_sides": [c for c in contents if straddles(c)],
        "group_on_two_sides": [c for c in groups if straddles(c)],
        "similar_groups": [c for c in alike if straddles(c) and len({row.group for row in c}) > 1],
        "conflicting_labels": [c for c in contents if len({value(row.label) for row in c}) > 1],
        "repeated_contents": [c for c in contents if not straddles(c)],
    }
    dropped: set[str] = set()
    counts: dict[str, Counter[str]] = {}

    def drop(kind: str, leaves: Callable[[ManifestRow, Cluster], bool]) -> None:
        leaving = {row.item_id: row.split for c in found[kind] for row in c if leaves(row, c)}
        counts[kind] = Counter(split for item_id, split in leaving.items() if item_id not in dropped)
        dropped.update(leaving)

    if drops:
        order = leakage.SIDES.index
        for kind in ("content_on_two_sides", "group_on_two_sides"):
            drop(kind, lambda row, c: side(row.split) != max((side(each.split) for each in c), key=order))
    if conflicts == "drop":
        drop("conflicting_labels", lambda row, _: side(row.split) != "test")
    kept = [row for row in rows if row.item_id not in dropped]
    if task == "classification":
        first = {row.label: row for row in reversed(kept)}
        trained = {row.label for row in kept if row.split == "train"}
        found |= {
            "similar_classes": shared(
                [first[name] for name in sorted(first)], lambda r: leakage.normalized_label(r.label)
            ),
            "missing_labels": [[first[name]] for name in sorted(first.keys() & leakage.MISSING)],
            "joined_labels": [[first[name]] for name in leakage.joined_labels(first)],
            "classes_not_in_train": [[r for r in kept if r.label == name] for name in sorted(first.keys() - trained)],
        }
    return kept, {kind: clusters for kind, clusters in found.items() if clusters}, counts


@SETTINGS
@given(ROWS, st.sampled_from(["drop", "allow"]), st.sampled_from(["keep", "drop"]), st.booleans())
def test_leakage_is_resolved_as_row_by_row(cells, how, conflicts, numbers):
    task = "regression" if numbers else "classification"
    if numbers:
        cells = [(key, ("1", "1.0", "2")[len(label) % 3], *others) for key, label, *others in cells]
    manifest = manifest_of(cells)
    kept, findings = leakage.resolve_leakage(manifest, leakage=how, conflicts=conflicts, task=task)
    expected, clusters, counts = row_by_row(list(manifest), drops=how == "drop", conflicts=conflicts, task=task)
    assert list(kept) == expected
    assert {each.kind: [list(cluster) for cluster in each.clusters] for each in findings} == clusters
    for each in findings:
        assert each.dropped == counts.get(each.kind, Counter())
        assert each.items == sum(map(len, clusters[each.kind]))


@SETTINGS
@given(ROWS, st.booleans(), st.integers(0, 3))
def test_splits_are_drawn_as_unit_by_unit(cells, stratify, seed):
    manifest = manifest_of(cells)
    drawn = drawing.draw(manifest, {"val": 0.3, "test": 0.2}, seed=seed, stratify=stratify)
    pairs = [(row.group or row.item_key, row.label) for row in manifest]
    expected = splits.draw(splits.split_units(pairs), val=0.3, test=0.2, seed=seed, stratify=stratify)
    assert [drawing.PARTS[part] for part in drawn] == [expected[identity] for identity, _ in pairs]


@pytest.mark.parametrize("stratify", [False, True])
def test_no_items_are_drawn_into_nothing(stratify):
    assert drawing.draw(Manifest.of([]), {"val": 0.3, "test": 0.2}, seed=0, stratify=stratify).tolist() == []


NAMES = st.one_of(
    st.text(),
    st.from_regex(r"-?[0-9]{1,4}(\.[0-9]{1,3})?(e\+[0-9]{1,2})?", fullmatch=True),
    st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,2})?Z?", fullmatch=True),
    st.sampled_from(["True", "true", "FALSE", "nan", " a", "a\n", "1.0\n", "é", "e\u0301", "\ufeffa"]),
)


@given(NAMES)
@settings(deadline=None, max_examples=500)
def test_names_that_no_pattern_doubts_are_in_their_normal_form(name):
    doubted = pc.match_substring_regex(pa.scalar(name, pa.large_string()), listing.MAYBE_NOT_NORMAL).as_py()
    assert doubted or canonical_name(name) == name


@given(st.lists(NAMES, max_size=12), st.lists(NAMES, max_size=3))
@settings(deadline=None, max_examples=200)
def test_repeated_ids_are_those_of_one_normal_form(names, again):
    names = [name for name in [*names, *again] if name.isprintable()]
    listed = Manifest.of(
        ManifestRow(item_id=name, item_key="", label="a", split="", group="", source="") for name in names
    )
    counts = Counter(map(canonical_name, names))
    assert listing.repeated_ids(listed) == [name for name, count in counts.items() if count > 1]


@given(ROWS)
@SETTINGS
def test_units_are_groups_and_contents_without_one(cells):
    manifest = manifest_of(cells)
    codes, identities = drawing.identities_of(manifest)
    units = [group or key for key, _, _, group in cells]
    assert identities.to_pylist() == list(dict.fromkeys(units))
    assert [identities[code].as_py() for code in codes.tolist()] == units


@given(ROWS, st.booleans(), st.sampled_from(["classification", "multilabel"]))
@SETTINGS
def test_without_val_and_test_all_is_train(cells, stratify, task):
    drawn = drawing.draw(manifest_of(cells), {"val": 0.0, "test": 0.0}, seed=1, stratify=stratify, task=task)
    assert drawn.tolist() == [0] * len(cells)
