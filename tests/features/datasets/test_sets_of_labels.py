"""Sets of labels from every kind of source that has them."""

import json

import datasets as hf
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from icebox.features.datasets import csv_text, features, huggingface, image_table
from icebox.features.errors import IceboxError
from icebox.features.label_sets import split

ROWS = [("one", ["a", "b"]), ("two", []), ("three", ["b"])]
SETS = [("a", "b"), (), ("b",)]


def sets_in(source):
    assert source.label_sets
    return [split(item.label) for item in source.items()]


def indicators(path):
    """The rows with a column of 0 and 1 for each label, in a file of this ending."""
    cells = [{"text": text, "a": int("a" in names), "b": int("b" in names)} for text, names in ROWS]
    match path.suffix:
        case ".csv":
            path.write_text("text,a,b\n" + "".join(f"{c['text']},{c['a']},{c['b']}\n" for c in cells))
        case ".jsonl":
            path.write_text("".join(json.dumps(each) + "\n" for each in cells))
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(cells), path)
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
def test_columns_of_0_and_1_are_sets(tmp_path, name):
    assert sets_in(csv_text.Source(path=indicators(tmp_path / name), label=["a", "b"])) == SETS


@pytest.mark.parametrize(("yes", "no"), [("1.0", "0.0"), ("true", "false"), ("True", "False"), ("1", "")])
def test_truth_is_spelled_in_several_ways(tmp_path, yes, no):
    (tmp_path / "t.csv").write_text(f"text,a,b\none,{yes},{yes}\ntwo,{no},{no}\nthree,{no},{yes}\n")
    source = csv_text.Source(path=tmp_path / "t.csv", label=["a", "b"])
    assert sets_in(source) == SETS
    assert [each.kind for each in source.account.remarks()] == ([] if no else ["blank_labels"])


@pytest.mark.parametrize("cell", ["-1", "2", "0.5", "maybe", "u"])
def test_what_is_neither_0_nor_1_is_an_error_with_its_place(tmp_path, cell):
    (tmp_path / "t.csv").write_text(f"text,a,b\none,1,0\ntwo,{cell},0\n")
    with pytest.raises(IceboxError, match=rf"t.csv, line 3: column 'a': expected 0 or 1 .* found '{cell}'"):
        list(csv_text.Source(path=tmp_path / "t.csv", label=["a", "b"]).items())


@pytest.mark.parametrize("sep", ["|", ";", " ", ", "])
def test_joined_names_are_parted_and_no_name_is_the_empty_set(tmp_path, sep):
    rows = "".join(f'{text},"{sep.join(names)}"\n' for text, names in ROWS)
    (tmp_path / "t.csv").write_text(f"text,label\n{rows}")
    assert sets_in(csv_text.Source(path=tmp_path / "t.csv", label={"sep": sep})) == SETS


def test_a_name_that_stands_twice_counts_once_and_is_told(tmp_path):
    (tmp_path / "t.csv").write_text("text,tags\none,b| a|b||\n")
    source = csv_text.Source(path=tmp_path / "t.csv", label={"column": "tags", "sep": "|"})
    assert sets_in(source) == [("a", "b")]
    assert [each.kind for each in source.account.remarks()] == ["repeated_labels"]


@pytest.mark.parametrize("name", ["t.jsonl", "t.parquet", "t.csv"])
def test_columns_of_lists_are_sets(tmp_path, name):
    path = tmp_path / name
    rows = [{"text": text, "tags": names} for text, names in ROWS]
    if name == "t.csv":
        path.write_text(
            "text;tags\n"
            + "".join(
                f"{r['text']};{json.dumps(r['tags']).replace(chr(34), chr(34) * 2)!s}\n".replace(";[", ';"[').replace(
                    "]\n", ']"\n'
                )
                for r in rows
            )
        )
        assert sets_in(csv_text.Source(path=path, label={"column": "tags"}, delimiter=";")) == SETS
        return
    if name == "t.jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    assert sets_in(csv_text.Source(path=path, label={"column": "tags"})) == SETS


def test_a_list_where_one_label_is_asked_for_stays_an_error(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"text": "one", "label": ["a"]}\n')
    with pytest.raises(IceboxError, match="expected text or a number, found list"):
        list(csv_text.Source(path=tmp_path / "t.jsonl").items())


def test_names_without_a_separator_say_what_to_do(tmp_path):
    (tmp_path / "t.csv").write_text("text,label\none,a|b\n")
    with pytest.raises(IceboxError, match=r"found 'a\|b'; say what stands between joined names: label: {sep"):
        list(csv_text.Source(path=tmp_path / "t.csv", label={"column": "label"}).items())


@pytest.mark.parametrize("label", [[], ["a", "a"], {"separator": "|"}, {"sep": ""}, {"sep": 1}])
def test_settings_that_name_no_set_are_errors(tmp_path, label):
    with pytest.raises(IceboxError, match="datasets: label"):
        csv_text.Source(path=tmp_path / "t.csv", label=label)


def test_dropped_labels_leave_their_sets_and_the_rows_stay(tmp_path):
    (tmp_path / "t.csv").write_text("text,label\none,a|b\ntwo,No Finding\nthree,b\nfour,\n")
    source = csv_text.Source(path=tmp_path / "t.csv", label={"sep": "|"}, drop_labels=["No Finding"])
    assert sets_in(source) == [("a", "b"), (), ("b",), ()]
    assert [each.count for each in source.account.remarks() if each.kind == "dropped_labels"] == [1]
    source = csv_text.Source(path=tmp_path / "t.csv", label={"sep": "|"}, drop_labels=["No Finding", ""])
    assert sets_in(source) == [("a", "b"), ("b",)]
    with pytest.raises(IceboxError, match="no row has the label 'none'"):
        list(csv_text.Source(path=tmp_path / "t.csv", label={"sep": "|"}, drop_labels=["none"]).items())


def test_pictures_of_a_table_have_sets_and_further_ones_too(tmp_path):
    for name in "xyz":
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    (tmp_path / "t.csv").write_text("path,split,a,b\nx.png,train,1,1\ny.png,test,0,0\nz.png,train,0,1\n")
    source = image_table.Source(path=tmp_path / "t.csv", label=["a", "b"], split="split")
    assert sets_in(source) == SETS
    assert [item.split for item in source.items()] == ["train", "test", "train"]
    (tmp_path / "new.csv").write_text("path,b,a\nz.png,1,0\n")
    assert sets_in(source.elsewhere(tmp_path / "new.csv", labelled=True)) == [("b",)]
    (tmp_path / "new.csv").write_text("path\nz.png\n")
    assert [item.label for item in source.elsewhere(tmp_path / "new.csv", labelled=False).items()] == [""]


def test_features_have_sets_by_columns_arrays_or_joined_names(tmp_path):
    x, y = np.eye(3), np.array([[1, 1], [0, 0], [0, 1]])
    np.savez(tmp_path / "f.npz", X=x, y=y, a=y[:, 0], b=y[:, 1])
    assert sets_in(features.Source(path=tmp_path / "f.npz", classes=["a", "b"])) == SETS
    assert sets_in(features.Source(path=tmp_path / "f.npz", y=["a", "b"])) == SETS
    rows = [{"f": float(i), "a": int(r[0]), "b": bool(r[1])} for i, r in enumerate(y)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "f.parquet")
    source = features.Source(path=tmp_path / "f.parquet", y=["a", "b"])
    assert sets_in(source) == SETS
    assert source.read("/1").tolist() == [[1.0]]  # the labels are no features
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "y.txt").write_text("a|b\n\nb\n")
    assert sets_in(features.Source(path=tmp_path / "x.npy", labels=tmp_path / "y.txt", sep="|")) == SETS


def test_features_whose_columns_do_not_fit_are_errors(tmp_path):
    np.savez(tmp_path / "f.npz", X=np.eye(3), y=np.ones((3, 2)))
    with pytest.raises(IceboxError, match=r"expected 3 rows of 3 columns \(a, b, c\), found \(3, 2\)"):
        list(features.Source(path=tmp_path / "f.npz", classes=["a", "b", "c"]).items())
    with pytest.raises(IceboxError, match="no column 'c', named by `y`; there are"):
        list(features.Source(path=tmp_path / "f.npz", y=["c", "d"]).items())
    with pytest.raises(IceboxError, match="only one of these"):
        features.Source(path=tmp_path / "f.npz", y=["c", "d"], classes=["a"])


@pytest.mark.parametrize("label", [["a", "b"], {"column": "tags"}, {"column": "joined", "sep": "|"}, {"column": "ids"}])
def test_a_hugging_face_dataset_has_sets(tmp_path, label):
    table = hf.Dataset.from_list(
        [
            {"text": text, "tags": names, "joined": "|".join(names), "a": int("a" in names), "b": int("b" in names)}
            for text, names in ROWS
        ]
    )
    ids = hf.Sequence(hf.ClassLabel(names=["a", "b"]))
    table = table.add_column("ids", [["ab".index(n) for n in names] for _, names in ROWS]).cast_column("ids", ids)
    table.save_to_disk(tmp_path / "d")
    assert sets_in(huggingface.Source(path=tmp_path / "d", text="text", label=label)) == SETS
