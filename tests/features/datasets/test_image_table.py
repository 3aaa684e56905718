import json
from pathlib import Path

import pytest
from PIL import Image

from icebox.features.datasets.image_table import Source
from icebox.features.errors import IceboxError
from icebox.features.manifest.build import build


@pytest.fixture
def folder(tmp_path):
    """Two pictures in a folder, and a way to write a table beside them."""
    for i, name in enumerate(["img/ä 1.png", "img/2.png"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4), 90 * i).save(tmp_path / name)
    return tmp_path


def items(at: Path, content: str, name: str = "t.csv", **settings):
    (at / name).write_text(content)
    return list(Source(path=at / name, **settings).items())


def test_pictures_go_by_their_path_from_the_tables_folder(folder):
    found = items(folder, "path,label\nimg/ä 1.png,cat\nimg/2.png,dog\n")
    assert [(i.item_id, i.source, i.label, i.split) for i in found] == [
        ("img/ä 1.png", "img/ä 1.png", "cat", ""),
        ("img/2.png", "img/2.png", "dog", ""),
    ]
    assert Source(path=folder / "t.csv").read("img/2.png") == (folder / "img/2.png").read_bytes()


def test_pictures_may_lie_in_a_folder_of_their_own_and_columns_have_other_names(folder):
    content = "2.png;7;Validation;p1;summer\n"
    settings = {"header": False, "delimiter": ";", "image": 0, "label": 1, "split": 2, "group": 3, "slices": [4]}
    (item,) = items(folder, content, folder=folder / "img", **settings)
    assert (item.item_id, item.label, item.split, item.group, dict(item.slices)) == (
        "2.png", "7", "val", "p1", {"4": "summer"},
    )  # fmt: skip
    assert Source(path=folder / "t.csv", folder=str(folder / "img"), **settings).read("2.png")


def test_json_lines_and_rows_to_leave_out_work_as_for_texts(folder, monkeypatch):
    monkeypatch.chdir(folder)  # long paths are cut
    lines = '{"path": "img/2.png", "label": "a"}\n{"path": "img/3.png", "label": null}\n'
    (folder / "t.jsonl").write_text(lines)
    source = Source(path=Path("t.jsonl"), drop_labels=[""])
    assert len(list(source.items())) == 1
    assert [r.sentence() for r in source.account.remarks()] == ["rows left out whose label is '': 1, t.jsonl, line 2"]


def test_the_same_picture_twice_is_an_error_unless_the_rows_have_ids(folder):
    with pytest.raises(IceboxError, match=r"line 3: id 'img/2\.png' was line 2's already"):
        items(folder, "path,label\nimg/2.png,a\nimg/2.png,b\n")
    found = items(folder, "key,path,label\nx,img/2.png,a\ny,img/2.png,b\n", id="key")
    assert [item.item_id for item in found] == ["x", "y"]


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "img/link.png"])
def test_nothing_outside_the_folder_is_read(folder, name):
    (folder / "inner/img").mkdir(parents=True)
    (folder / "secret.png").write_bytes(b"secret")
    (folder / "inner/img/link.png").symlink_to(folder / "secret.png")
    found = items(folder / "inner", f"path,label\n{name},a\n")
    with pytest.raises(IceboxError, match="leads out of the folder"):
        Source(path=folder / "inner/t.csv").read(found[0].source)


def test_a_picture_that_is_not_there_is_named_by_the_manifest(folder):
    (folder / "t.csv").write_text("path,label\nimg/9.png,a\nimg/2.png,b\n")
    with pytest.raises(IceboxError, match=r"img/9\.png can't be read: No such file"):
        list(build(Source(path=folder / "t.csv"), val=0, test=0, seed=0))


def remarks(source: Source) -> list[str]:
    return [remark.sentence() for remark in source.account.remarks()]


@pytest.mark.parametrize(
    ("cell", "path", "remark"),
    [
        ("img\\2.png", "img/2.png", "paths with backslashes, read as slashes"),
        ("img/2", "img/2.png", "images found by their name, since no file has the path in the table"),
        ("2", "img/2.png", "images found by their name, since no file has the path in the table"),
        ("2.PNG", "img/2.png", "images found by their name, since no file has the path in the table"),
        ("deep/x.1", "deep/x.1.jpg", "images found by their name, since no file has the path in the table"),
    ],
)
def test_a_picture_is_found_however_the_table_calls_it_and_that_is_told(folder, cell, path, remark):
    (folder / "deep").mkdir()
    (folder / "deep/x.1.jpg").write_bytes(b"x")
    (folder / "t.csv").write_text(f"path,label\n{cell},a\n")
    source = Source(path=folder / "t.csv")
    (item,) = source.items()
    assert (item.item_id, item.source) == (cell, path)
    assert remarks(source) == [f"{remark}: 1, {cell}"]
    assert source.read(item.source) == (folder / path).read_bytes()


def test_a_name_of_two_pictures_or_of_none_is_named_with_the_nearest(folder):
    (folder / "img/2.jpg").write_bytes(b"x")
    first, second = items(folder, "path,label\n2,a\nimg/3.png,b\n")
    with pytest.raises(IceboxError, match=r"2 can't be read: .*; the nearest there: img/2\.jpg, img/2\.png"):
        Source(path=folder / "t.csv").read(first.source)
    with pytest.raises(IceboxError, match=r"img/3\.png can't be read: .*; the nearest there: img/2"):
        Source(path=folder / "t.csv").read(second.source)


@pytest.mark.parametrize("name", ["a\0b.png", "x" * 5000, "loop.png", "img", ""])
def test_a_path_that_is_none_is_one_line(folder, name):
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "t.jsonl").write_text(json.dumps({"path": name, "label": "a", "key": 1}))
    source = Source(path=folder / "t.jsonl", id="key")
    with pytest.raises(IceboxError) as caught:
        source.read(next(iter(source.items())).source)
    assert "\n" not in str(caught.value)


def test_a_row_without_a_path_is_named_with_its_line(folder):
    with pytest.raises(IceboxError, match=r"t\.csv, line 3: column 'path' is empty; add the picture's path"):
        items(folder, "path,label\nimg/2.png,x\n  ,y\n")
    new = Source(path=folder / "t.csv").elsewhere(folder / "t.csv", labelled=False)
    assert [item.source for item in new.items()] == ["img/2.png", ""]
    with pytest.raises(IceboxError, match="column 'path' is empty"):
        new.read("")
