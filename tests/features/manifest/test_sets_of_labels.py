"""Manifests of items with sets of labels."""

from collections import Counter

import numpy as np
import pytest

from icebox.features.abc.dataset import Dataset, Item
from icebox.features.errors import IceboxError
from icebox.features.label_sets import join, split
from icebox.features.manifest.build import build as built_of
from icebox.features.manifest.leakage import resolve_leakage
from icebox.features.manifest.manifest import ManifestRow
from icebox.features.manifest.split_sizes import split_remarks


class Texts(Dataset):
    """Items of (text, label, group)."""

    modality = "text"
    label_sets = True

    def __init__(self, *items: tuple[str, str, str]) -> None:
        self.listed = items

    def items(self):
        for i, (text, label, group) in enumerate(self.listed):
            yield Item(item_id=str(i), source=text, label=label, group=group)

    def read(self, source: str) -> str:
        return source


def build(*items, **settings):
    return built_of(Texts(*items), **{"val": 0.2, "test": 0.2, "seed": 0, "task": "multilabel"} | settings)


def rows(*items: tuple[str, str, str]) -> list[ManifestRow]:
    return [
        ManifestRow(item_id=str(i), item_key=key, label=label, split=name, group="", source="")
        for i, (key, name, label) in enumerate(items)
    ]


def test_sets_need_the_task_and_the_task_needs_sets():
    dataset = Texts(("x", '["a"]', ""), ("y", "[]", ""))
    with pytest.raises(IceboxError, match="labels are sets of names, and its task is classification; say task: multil"):
        built_of(dataset, val=0.2, test=0.2, seed=0)
    dataset.label_sets = False
    with pytest.raises(IceboxError, match=r"task: multilabel: expected sets of labels.*label: \[a, b\]"):
        built_of(dataset, val=0.2, test=0.2, seed=0, task="multilabel")


def test_a_source_that_writes_no_set_is_an_error_with_its_item():
    with pytest.raises(IceboxError, match=r"item '1': expected a set of labels .* found 'a'"):
        build(("x", '["a"]', ""), ("y", "a", ""))


def test_the_same_set_for_all_is_nothing_to_learn():
    with pytest.raises(IceboxError, match="at least two different labels"):
        build(("x", '["a"]', ""), ("y", '["a"]', ""))


def test_spellings_of_a_name_are_one():
    built = build(("x", '["1", "b"]', ""), ("y", '["1.0"]', ""), ("z", "[]", ""))
    assert [split(row.label) for row in built] == [("1", "b"), ("1",), ()]


def test_drawn_splits_are_stratified_by_every_label_and_keep_groups_together():
    random = np.random.default_rng(0)
    rates = {"a": 0.5, "b": 0.2, "c": 0.04}
    sets = [join(name for name, rate in rates.items() if random.random() < rate) for _ in range(300)]
    built = build(*[(f"t{i}", label, f"g{i // 2}") for i, label in enumerate(sets)], stratify=True)
    assert all(len({row.split for row in built if row.group == group}) == 1 for group in {r.group for r in built})
    counts = Counter((row.split, name) for row in built for name in split(row.label))
    total = Counter(name for label in sets for name in split(label))
    for name in rates:
        assert abs(counts["test", name] - 0.2 * total[name]) <= 2
        assert abs(counts["val", name] - 0.2 * total[name]) <= 2
    plain = build(*[(f"t{i}", label, "") for i, label in enumerate(sets)])
    assert {row.split for row in plain} == {"train", "val", "test"}


def test_conflicts_are_of_whole_sets_and_empty_and_rare_labels_are_told():
    manifest_rows = rows(
        ("k1", "train", '["a", "b"]'), ("k1", "train", '["a"]'), ("k2", "train", "[]"), ("k3", "test", '["B"]')
    )
    _, findings = resolve_leakage(manifest_rows, leakage="error", conflicts="keep", task="multilabel")
    kinds = [finding.kind for finding in findings]
    assert kinds == ["conflicting_labels", "repeated_contents", "similar_classes", "classes_not_in_train"]
    remarks = split_remarks(manifest_rows, "multilabel")
    assert [(each.kind, each.count) for each in remarks if each.kind == "empty_sets"] == [("empty_sets", 1)]
    told = [name for each in remarks if each.kind == "small_classes" for name in each.examples]
    assert {"b (1)", "B (0)", "a (2)"} <= set(told)
    assert resolve_leakage(manifest_rows, leakage="error", conflicts="drop", task="multilabel")[0] == manifest_rows[2:]


def test_a_label_that_nearly_all_items_have_is_told():
    many = rows(*[(f"k{i}", "train", '["a"]' if i else "[]") for i in range(60)])
    assert any(
        "have" not in each.description and "lack" in each.description for each in split_remarks(many, "multilabel")
    )
