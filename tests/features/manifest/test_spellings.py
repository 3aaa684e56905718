import json

import pyarrow
import pyarrow.parquet
import pytest

from icebox.features.abc.account import Account
from icebox.features.abc.dataset import Item
from icebox.features.datasets.csv_text import Source
from icebox.features.errors import IceboxError
from icebox.features.manifest import listing, tables
from icebox.features.manifest.build import build
from icebox.features.manifest.leakage import resolve_leakage
from icebox.features.manifest.manifest import Manifest
from icebox.features.manifest.spellings import merge_spellings


def item(number: int, label: str, group: str = "", **slices: str) -> Item:
    return Item(item_id=str(number), source=str(number), label=label, group=group, slices=slices)


def merged_of(items: list[Item], task, account: Account) -> Manifest:
    listed = Manifest(tables.of_blocks([listing.columns_of(items)]))
    return merge_spellings(listed, task, account)


def test_labels_groups_and_slices_spelled_in_several_ways_are_one_and_told():
    items = [item(0, "1", "105", year="2001"), item(1, "1.0", "105.0", year="2001.0"), item(2, "True", "7.0")]
    account = Account()
    merged = merged_of(items, "classification", account)
    assert [(i.label, i.group, dict(i.slices)) for i in merged] == [
        ("1", "105", {"year": "2001"}),
        ("1", "105", {"year": "2001"}),
        ("True", "7.0", {"year": ""}),
    ]
    assert [remark.sentence() for remark in account.remarks()] == [
        "labels that are spelled in several ways and taken as one: 1, 1 = 1.0",
        "groups that are spelled in several ways and taken as one: 1, 105 = 105.0",
        "values of year that are spelled in several ways and taken as one: 1, 2001 = 2001.0",
    ]


def test_a_blank_group_is_none_and_no_matter_of_spelling():
    account = Account()
    merged = merged_of([item(0, "a", " "), item(1, "b", "")], "classification", account)
    assert [i.group for i in merged] == ["", ""]
    assert account.remarks() == []


def test_one_spelling_throughout_stays():
    items = [item(0, "1.0", "105.0"), item(1, "2.0", "106.0"), item(2, "01", "007")]
    account = Account()
    assert merged_of(items, "classification", account) == merged_of(items, "regression", Account())
    assert account.remarks() == []


def test_numbers_to_predict_stay_as_written():
    items = [item(0, "1"), item(1, "1.0")]
    assert [row.label for row in merged_of(items, "regression", Account())] == ["1", "1.0"]


def rows(path, **settings):
    return build(Source(path=path, **settings), val=0.2, test=0.2, seed=0)


@pytest.mark.parametrize("label", ["{}", "{}.0", '"{}"', '"{}.0"'])
def test_a_label_is_one_class_whatever_its_type_in_json(tmp_path, label):
    lines = [f'{{"text": "t{i}", "label": {(label if i % 3 else "{}").format(i % 2)}}}' for i in range(12)]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    assert {row.label for row in rows(tmp_path / "t.jsonl")} == {"0", "1"}


@pytest.mark.parametrize("truth", ["true", "True", "TRUE"])
def test_a_truth_value_is_one_class_in_json_and_csv(tmp_path, truth):
    (tmp_path / "t.csv").write_text(f"text,label\na,{truth}\nb,False\n")
    (tmp_path / "t.jsonl").write_text('{"text": "c", "label": true}\n{"text": "d", "label": false}\n')
    paths = {"train": tmp_path / "t.csv", "test": tmp_path / "t.jsonl"}
    assert {row.label for row in rows(paths)} == {"true", "false"}


@pytest.mark.parametrize(
    "test_groups", [[105.0, None], [105.0, float("nan")], [105, None], ["105", "x"], [" 105", "x"]]
)
def test_a_group_on_two_sides_is_found_whatever_the_columns_type(tmp_path, test_groups):
    train = {"text": ["a", "b"], "label": [0, 1], "patient": [105, 106]}
    test = {"text": ["c", "d"], "label": [0, 1], "patient": test_groups}
    for name, columns in (("train", train), ("test", test)):
        pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / f"{name}.parquet")
    made = rows({name: tmp_path / f"{name}.parquet" for name in ("train", "test")}, group="patient")
    with pytest.raises(IceboxError, match="groups on two sides"):
        resolve_leakage(made, leakage="error", conflicts="keep")


def test_a_csv_of_numbers_and_a_json_of_floats_share_their_classes(tmp_path):
    (tmp_path / "t.csv").write_text("text,label\na,1\nb,01\n")
    (tmp_path / "t.jsonl").write_text(
        "\n".join(json.dumps({"text": t, "label": v}) for t, v in (("c", 1.0), ("d", 2.5)))
    )
    paths = {"train": tmp_path / "t.csv", "test": tmp_path / "t.jsonl"}
    assert [row.label for row in rows(paths)] == ["1", "01", "1", "2.5"]


def test_two_spellings_of_one_label_are_nothing_to_learn(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"text": "a", "label": 1}\n{"text": "b", "label": 1.0}\n')
    with pytest.raises(IceboxError, match="at least two different labels, found '1' for all of 2 items"):
        rows(tmp_path / "t.jsonl")
