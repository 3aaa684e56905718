import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icebox.features.errors import IceboxError
from icebox.features.manifest import leakage
from icebox.features.manifest.leakage import resolve_leakage
from icebox.features.manifest.manifest import ManifestRow
from icebox.features.splits import side


def row(item_id: str, content: str, *, split: str = "train", label: str = "a", group: str = "") -> ManifestRow:
    return ManifestRow(item_id=item_id, item_key=content, label=label, split=split, group=group, source="")


def kinds(found: list[leakage.Finding]) -> dict[str, tuple[int, int]]:
    return {finding.kind: (len(finding.clusters), finding.items) for finding in found}


OTHERS = [row("o1", "o1", label="a"), row("o2", "o2", label="b")]
TWICE = [row("x", "1"), row("y", "1", split="test"), *OTHERS]


def test_nothing_to_find_is_nothing():
    assert resolve_leakage(OTHERS, leakage="error", conflicts="keep") == (OTHERS, [])


def test_a_content_on_two_sides_is_an_error_that_names_it_and_says_what_to_do():
    with pytest.raises(IceboxError) as caught:
        resolve_leakage(TWICE, leakage="error", conflicts="keep")
    assert "contents on two sides of the split: 1 (2 items), x (train, a) = y (test, a)" in str(caught.value)
    assert caught.value.hint == "allow leakage"


def test_a_group_on_two_sides_is_an_error_too():
    rows = [row("x", "1", group="ann"), row("y", "2", group="ann", split="val"), *OTHERS]
    with pytest.raises(IceboxError, match=r"groups on two sides of the split: 1 \(2 items\), x .* = y "):
        resolve_leakage(rows, leakage="error", conflicts="keep")


def test_dropped_items_leave_train_and_are_counted():
    kept, found = resolve_leakage(TWICE, leakage="drop", conflicts="keep")
    assert [r.item_id for r in kept] == ["y", "o1", "o2"]
    assert found[0].dropped == {"train": 1}
    assert found[0].sentence().endswith("; 1 left out of train")


def test_val_loses_to_test_and_train_to_both():
    rows = [row("x", "1"), row("y", "1", split="val"), row("z", "1", split="test-other"), *OTHERS]
    kept, found = resolve_leakage(rows, leakage="drop", conflicts="keep")
    assert [r.item_id for r in kept] == ["z", "o1", "o2"]
    assert found[0].dropped == {"train": 1, "val": 1}


def test_allowed_leakage_is_still_found():
    kept, found = resolve_leakage(TWICE, leakage="allow", conflicts="keep")
    assert kept == TWICE
    assert kinds(found) == {"content_on_two_sides": (1, 2)}


def test_two_test_sets_may_share_a_content():
    rows = [row("x", "1", split="test"), row("y", "1", split="test-other"), *OTHERS]
    kept, found = resolve_leakage(rows, leakage="error", conflicts="keep")
    assert kept == rows
    assert kinds(found) == {"repeated_contents": (1, 2)}


def test_conflicting_labels_are_found_and_on_choice_dropped_but_never_from_a_test_set():
    rows = [row("x", "1"), row("y", "1", label="b"), *OTHERS]
    rows += [row("s", "2", split="test"), row("t", "2", split="test", label="b")]
    kept, found = resolve_leakage(rows, leakage="error", conflicts="keep")
    assert kept == rows
    assert kinds(found) == {"conflicting_labels": (2, 4), "repeated_contents": (2, 4)}
    kept, found = resolve_leakage(rows, leakage="error", conflicts="drop")
    assert [r.item_id for r in kept] == ["o1", "o2", "s", "t"]
    assert found[0].dropped == {"train": 2}


def test_a_regressions_labels_conflict_as_numbers():
    rows = [row("x", "1", label="1"), row("y", "1", label="1.0"), row("s", "2", label="1"), row("t", "2", label="2")]
    _, found = resolve_leakage(rows, leakage="error", conflicts="keep", task="regression")
    assert kinds(found) == {"conflicting_labels": (1, 2), "repeated_contents": (2, 4)}


def test_what_leaves_for_two_reasons_is_counted_once():
    rows = [
        row("x", "1", group="ann"),
        row("y", "1", group="bob", label="b", split="test"),
        row("z", "3", group="ann", split="test"),
        *OTHERS,
    ]
    kept, found = resolve_leakage(rows, leakage="drop", conflicts="drop")
    assert [r.item_id for r in kept] == ["y", "z", "o1", "o2"]
    assert [(f.kind, f.dropped.total()) for f in found] == [
        ("content_on_two_sides", 1),
        ("group_on_two_sides", 0),
        ("conflicting_labels", 0),
    ]


def test_classes_that_look_alike_and_classes_that_train_lacks_are_found():
    rows = [row("x", "1", label="Café"), row("y", "2", label="cafe\u0301 "), row("z", "3", label="new", split="val")]
    _, found = resolve_leakage(rows, leakage="error", conflicts="keep")
    assert kinds(found) == {"similar_classes": (1, 2), "classes_not_in_train": (1, 1)}


def test_a_long_cluster_names_one_item_of_each_split_first():
    rows = [*(row(f"t{n}", "1") for n in range(9)), row("v", "1", split="val"), *OTHERS]
    _, found = resolve_leakage(rows, leakage="allow", conflicts="keep")
    assert found[0].sentence().endswith("t0 (train, a) = v (val, a) = t1 (train, a) = …")


def test_the_findings_file_counts_all_and_lists_the_first():
    rows = [row(f"{part}{n}", str(n), split=part) for part in ("train", "test") for n in range(60)]
    written = json.loads(json.dumps(resolve_leakage(rows, leakage="drop", conflicts="keep")[1][0].as_json()))
    assert (written["count"], written["items"], written["dropped"], len(written["first"])) == (
        60,
        120,
        {"train": 60},
        50,
    )
    assert written["first"][0][1] == {"item_id": "test0", "split": "test", "label": "a"}


splits = st.sampled_from(["train", "val", "test", "test-other"])
many = st.lists(st.tuples(st.sampled_from("123456"), splits, st.sampled_from("ab"), st.sampled_from(["", "p", "q"])))


@given(many, st.sampled_from(["keep", "drop"]))
def test_after_dropping_nothing_straddles_and_every_test_item_is_there(cells, conflicts):
    rows = [row(f"i{n}", content, split=s, label=la, group=g) for n, (content, s, la, g) in enumerate(cells)]
    kept, _ = resolve_leakage(rows, leakage="drop", conflicts=conflicts)
    for key in ("item_key", "group"):
        sides: dict[str, set[str]] = {}
        for r in kept:
            if getattr(r, key):
                sides.setdefault(getattr(r, key), set()).add(side(r.split))
        assert all(len(found) == 1 for found in sides.values())
    assert [r for r in kept if side(r.split) == "test"] == [r for r in rows if side(r.split) == "test"]
    assert resolve_leakage(kept, leakage="error", conflicts=conflicts)[0] == kept


@pytest.mark.parametrize(
    ("train", "test", "advice"),
    [
        (["0.13", "-2.5", "7"], "1e3", "did you mean task: regression?"),
        (["0", "1"] * 9, "2", "leave their rows out, move some into train"),
        (["a", "b"], "c", "leave their rows out, move some into train"),
    ],
)
def test_a_class_that_only_test_has_is_told_with_advice_that_fits(train, test, advice):
    rows = [row(str(i), str(i), label=label) for i, label in enumerate(train)]
    _, found = resolve_leakage([*rows, row("t", "t", label=test, split="test")], leakage="allow", conflicts="keep")
    assert [finding.kind for finding in found] == ["classes_not_in_train"]
    assert advice in found[0].description


def test_a_group_on_two_sides_may_only_be_a_name():
    rows = [row("x", "1", group="person1"), row("y", "2", group="person1", split="test"), *OTHERS]
    with pytest.raises(IceboxError, match="where they share no more than a name, make `group` tell them apart"):
        resolve_leakage(rows, leakage="error", conflicts="keep")


def test_many_leaks_with_long_ids_are_a_short_error():
    pairs = [("train", "a"), ("test", "b")]
    rows = [
        row(f"{i}{split}{'x' * 5000}", str(i), split=split, label=label) for i in range(109) for split, label in pairs
    ]
    with pytest.raises(IceboxError, match=r"two sides of the split: 109 \(218 items\), ") as caught:
        resolve_leakage(rows, leakage="error", conflicts="keep")
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("labels", "joined"),
    [
        (["Effusion", "Effusion|Mass", "Mass|Nodule", "No Finding"], ["Effusion|Mass", "Mass|Nodule"]),
        (["a", "b", "a,b", "a, b;c"], ["a,b"]),
        (["Washington, DC", "Washington", "a|b", "salt; pepper"], []),
    ],
)
def test_several_labels_of_a_row_are_told(labels, joined):
    assert leakage.joined_labels(labels) == joined
    rows = [row(str(i), str(i), label=label) for i, label in enumerate(labels)]
    _, found = resolve_leakage(rows, leakage="error", conflicts="keep")
    assert [r.label for finding in found if finding.kind == "joined_labels" for (r,) in finding.clusters] == joined


@pytest.mark.parametrize(
    ("labels", "missing"),
    [(["nan", "cat", "dog"], ["nan"]), (["None", "N/A", "yes"], ["N/A", "None"]), (["none", "no", "nana"], [])],
)
def test_classes_that_are_missing_values_elsewhere_are_told(labels, missing):
    rows = [row(str(i), str(i), label=label) for i, label in enumerate(labels)]
    _, found = resolve_leakage(rows, leakage="error", conflicts="keep")
    assert [r.label for finding in found if finding.kind == "missing_labels" for (r,) in finding.clusters] == missing


@pytest.mark.parametrize(
    ("groups", "told"), [(("P1", "p1"), True), (("p 1", "p  1"), True), (("p1", "p2"), False), (("", ""), False)]
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_groups_with_nearly_the_same_name_on_two_sides_are_told(groups, told, split):
    rows = [
        row(str(i), str(i), label="ab"[i], group=group, split=("train", split)[i]) for i, group in enumerate(groups)
    ]
    _, found = resolve_leakage(rows, leakage="error", conflicts="keep")
    assert any(finding.kind == "similar_groups" for finding in found) == (told and split == "test")
