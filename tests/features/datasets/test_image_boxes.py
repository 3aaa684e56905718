"""Boxes in every format, and what is wrong with them in one line."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from icebox.features import plugins
from icebox.features.errors import IceboxError

Source = plugins.load("icebox.features.datasets", "image_boxes").Source


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def picture(path: str, value: int = 0, size: tuple[int, int] = (20, 10)) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 0, 0)).save(path)


def text(path: str, content: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(content)


def read(source: Any) -> dict[str, tuple[str, list]]:
    """{id: (split, [class, corners, ignored] of each box)}."""
    found = {}
    for item in source.items():
        boxes = source.target(item.source)
        names = [source.classes[number] for number in boxes.labels]
        rows = [list(row) for row in zip(names, boxes.corners.tolist(), boxes.ignored.tolist(), strict=True)]
        found[item.item_id] = (item.split, rows)
    return found


def remarks(source: Any) -> list[str]:
    return [remark.sentence() for remark in source.account.remarks()]


def coco(path: str, *names: str, annotations: list[dict] | None = None, **changes: Any) -> None:
    document = {
        "images": [{"id": i + 7, "file_name": name, "width": 20, "height": 10} for i, name in enumerate(names)],
        "annotations": [{"image_id": 7, "category_id": 9, "bbox": [2, 1, 4, 3]}]
        if annotations is None
        else annotations,
        "categories": [{"id": 9, "name": "wbc"}, {"id": 3, "name": "rbc"}],
    }
    text(path, json.dumps(document | changes))


def test_coco_gives_categories_by_id_and_crowds_are_ignored():
    for i, name in enumerate("ab"):
        picture(f"d/{name}.jpg", i)
    coco(
        "d/a.json",
        "a.jpg",
        "b.jpg",
        annotations=[
            {"image_id": 8, "category_id": 9, "bbox": [2, 1, 4, 3], "iscrowd": 1},
            {"image_id": 8, "category_id": 3, "bbox": [0.5, 0.5, 1, 1], "iscrowd": 0},
        ],
    )
    source = Source(path="d/a.json")
    assert read(source) == {
        "a.jpg": ("", []),
        "b.jpg": ("", [["wbc", [2, 1, 6, 4], True], ["rbc", [0.5, 0.5, 1.5, 1.5], False]]),
    }
    assert source.classes == ("rbc", "wbc")


@pytest.mark.parametrize(
    ("files", "settings"),
    [
        (["d/annotations/instances_train.json", "d/annotations/instances_val.json"], {"folder": "d"}),
        (["d/train/_annotations.coco.json", "d/val/_annotations.coco.json"], {}),
    ],
)
def test_coco_has_a_file_for_each_split_and_pictures_beside_it_or_in_a_folder(files, settings):
    picture("d/train/1.jpg")
    picture("d/val/2.jpg", 1)
    coco(files[0], "1.jpg")
    coco(files[1], "2.jpg")
    source = Source(path={"train": files[0], "valid": files[1]}, **settings)
    box = [["wbc", [2, 1, 6, 4], False]]
    assert read(source) == {"train/1.jpg": ("train", box), "val/2.jpg": ("val", box)}
    assert source.target_file("val/2.jpg") == files[1]


@pytest.mark.parametrize("name", ["elsewhere/train2017/1.jpg", "train2017\\1.jpg", "/home/me/train2017/1.jpg", "1"])
def test_cocos_pictures_are_found_by_their_name_where_their_folders_are_others(name):
    picture("d/p/1.jpg")
    coco("d/a.json", name)
    source = Source(path="d/a.json")
    assert list(read(source)) == ["p/1.jpg"]
    assert remarks(source)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": []}, "expected images, found none"),
        ({"categories": {}}, "expected a list at categories, found {}"),
        ({"annotations": [{"image_id": 1, "category_id": 9, "bbox": [0, 0, 1, 1]}]}, "annotation 0: image_id 1 is no"),
        (
            {"annotations": [{"image_id": 7, "category_id": 1, "bbox": [0, 0, 1, 1]}]},
            "annotation 0: category_id 1 is no",
        ),
        ({"annotations": [{"image_id": 7, "category_id": 9, "bbox": [0, 0, 1]}]}, "expected a box of four numbers"),
        ({"annotations": [{"image_id": 7, "category_id": 9, "bbox": [0, 0, 1, float("nan")]}]}, "four finite numbers"),
        ({"annotations": [{"image_id": 7, "category_id": 9, "bbox": [0, 0, 1, 10**400]}]}, "box of four numbers"),
        (
            {"images": [{"id": 7, "file_name": "a.jpg"}, {"id": 7, "file_name": "b.jpg"}]},
            r"b\.jpg \(id 7\) stands .* twice",
        ),
    ],
)
def test_broken_coco_is_one_line_that_names_the_file(changes, message):
    picture("d/a.jpg")
    coco("d/a.json", "a.jpg", **changes)
    with pytest.raises(IceboxError, match=rf"^datasets: d/a\.json.*{message}"):
        read(Source(path="d/a.json"))


def voc(name: str, *objects: str, size: str = "<width>20</width><height>10</height>") -> None:
    picture(f"d/JPEGImages/{name}.jpg", len(name))
    text(f"d/Annotations/{name}.xml", f"<annotation><size>{size}</size>{''.join(objects)}</annotation>")


def thing(name: str, *corners: object, difficult: int = 0) -> str:
    sides = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    box = "".join(f"<{side}>{value}</{side}>" for side, value in sides)
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{box}</bndbox></object>"


def test_voc_counts_pixels_from_one_its_difficult_objects_are_ignored_and_its_lists_are_the_splits():
    voc("a", thing("RBC", 1, 1, 20, 10), thing("WBC", 3, 2, 6, 4.5, difficult=1))
    voc("bb", size="<width>0</width><height>0</height>")
    voc("ccc", thing("Platelets", 1, 1, 2, 2))
    text("d/ImageSets/Main/train.txt", "a\nbb  1\n")
    text("d/ImageSets/Main/val.txt", "ccc -1\n")
    source = Source(path="d", splits={"train": "train", "val": "test"})
    assert read(source) == {
        "JPEGImages/a.jpg": ("train", [["RBC", [0, 0, 20, 10], False], ["WBC", [2, 1, 6, 4.5], True]]),
        "JPEGImages/bb.jpg": ("train", []),
        "JPEGImages/ccc.jpg": ("test", [["Platelets", [0, 0, 2, 2], False]]),
    }
    assert source.classes == ("Platelets", "RBC", "WBC")
    assert source.target_file("JPEGImages/a.jpg") == "Annotations/a.xml"


BOMB = '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;&b;">]><annotation>&c;</annotation>'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BOMB.encode(), r"d/Annotations/a\.xml: expected XML without a document type"),
        (f'<?xml version="1.0" encoding="UTF-16"?>{BOMB}'.encode("utf-16"), "without a document type"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', "without a document type"),
        (b"<annotation>", r"d/Annotations/a\.xml: expected XML, found no element found"),
        (b'<?xml version="1.0" encoding="none"?><a/>', "expected XML, found unknown encoding"),
        (b"", "expected XML, found no element found"),
        (b" " * (1 << 21) + b"<a/>", "2,097,156 bytes, at most 2,097,152 are taken"),
        (thing("a", 1, 2, 3, "x").join(["<a>", "</a>"]).encode(), "'a': expected a box of four numbers"),
        (b"<a><object><name>a</name></object></a>", "object 0: expected name and bndbox"),
        (None, r"d/Annotations/a\.xml: there is no such file, which JPEGImages/a\.jpg needs"),
    ],
)
def test_xml_that_is_damaged_large_or_defines_entities_is_one_line_that_names_the_file(content, message):
    voc("a")
    Path("d/Annotations/a.xml").unlink()
    if content is not None:
        Path("d/Annotations/a.xml").write_bytes(content)
    with pytest.raises(IceboxError, match=message) as error:
        read(Source(path="d", classes=["a"]))
    assert "\n" not in str(error.value)


def yolo(split: str, name: str, *lines: str, images: str = "d/images/{}", labels: str = "d/labels/{}") -> None:
    picture(f"{images.format(split)}/{name}.jpg", len(name))
    text(f"{labels.format(split)}/{name}.txt", "\n".join(lines))


@pytest.mark.parametrize(
    ("folders", "settings"),
    [
        ({}, {}),
        (
            {"images": "d/{}/images", "labels": "d/{}/labels"},
            {"format": "yolo", "images": "{split}/images", "annotations": "{split}/labels"},
        ),
    ],
)
@pytest.mark.parametrize(
    ("file", "names"), [("data.yaml", "names: {0: cat, 1: dog}\n"), ("classes.txt", "cat\ndog\n"), (None, "")]
)
def test_yolo_has_shares_of_the_picture_and_names_in_its_usual_files(folders, settings, file, names):
    yolo("train", "a", "1 0.5 0.5 0.2 0.4", "0 0.25 0.5 0.5 1.0", **folders)
    yolo("valid", "bb", "", **folders)
    if file:
        text(f"d/{file}", names)
    source = Source(path="d", classes=None if file else ["cat", "dog"], **settings)
    assert [found for found in read(source).values()] == [
        ("train", [["dog", [8, 3, 12, 7], False], ["cat", [0, 0, 10, 10], False]]),
        ("val", []),
    ]


def test_a_picture_without_a_file_of_yolo_has_no_objects():
    yolo("train", "a", "0 0.5 0.5 0.2 0.4")
    picture("d/images/train/bb.jpg")
    assert read(Source(path="d", classes=["cat"]))["images/train/bb.jpg"] == ("train", [])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("5 0.5 0.5 0.2 0.4", r"d/labels/train/a\.txt: expected a class of 0 to 0, found '5'"),
        ("0 0.5 0.5 0.2", "expected lines of class, cx, cy, width, height"),
        ("0 0.5 0.5 0.2 x", "expected a box of four numbers"),
        ("0 320 240 100 50", "expected shares of the picture's sides, 0 to 1"),
        ("0 nan 0.5 0.2 0.4", "four finite numbers"),
        ("\0", "found NUL characters"),
    ],
)
def test_broken_lines_of_yolo_are_errors_that_name_the_file(line, message):
    yolo("train", "a", line)
    with pytest.raises(IceboxError, match=message):
        read(Source(path="d", classes=["cat"]))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data.yaml", "names: [", r"d/data\.yaml: expected YAML"),
        ("data.yaml", "nc: 3", "expected `names`, a list or .*, found None"),
        ("data.yaml", "names: {1: a}", "expected `names`"),
        ("data.yaml", "names: [[a]]", "expected `names`"),
        ("other.txt", "a", r"expected the names of YOLO's classes in data\.yaml"),
    ],
)
def test_names_that_are_none_are_errors(name, content, message):
    yolo("train", "a", "0 0.5 0.5 0.2 0.4")
    text(f"d/{name}", content)
    with pytest.raises(IceboxError, match=message):
        read(Source(path="d"))


@pytest.mark.parametrize(
    ("row", "settings"),
    [
        ("2,1,6,4", {}),
        ("2,1,4,3", {"box_kind": "xywh"}),
        ("4,2.5,4,3", {"box_kind": "cxcywh"}),
        ("0.1,0.1,0.3,0.4", {"normalized": True}),
    ],
)
def test_a_table_has_a_row_a_box_in_any_of_the_usual_forms(row, settings):
    for i, name in enumerate("ab"):
        picture(f"d/{name}.jpg", i)
    text(
        "d/t.csv", f"file,cell,a,b,c,d,part,who\na.jpg,wbc,{row},train,1\nb.jpg,,,,,,test,2\na.jpg,rbc,{row},train,1\n"
    )
    columns = {"image": "file", "label": "cell", "box": ["a", "b", "c", "d"], "split": "part", "group": "who"}
    source = Source(path="d/t.csv", **columns, **settings)
    found = read(source)
    assert [each.group for each in source.items()] == ["1", "2"]
    assert found["a.jpg"][0] == "train"
    assert [name for name, _, _ in found["a.jpg"][1]] == ["wbc", "rbc"]
    assert found["a.jpg"][1][0][1] == pytest.approx([2, 1, 6, 4])
    assert found["b.jpg"] == ("test", [])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a.jpg,rbc,1,1,2,\n", r"d/t\.csv.*'rbc': expected a box of four numbers"),
        ("a.jpg,,1,1,2,2\n", "column 'label' is empty beside a box"),
        (",rbc,1,1,2,2\n", "line 2: column 'image' is empty"),
        ("a.jpg,,,,,\n", "expected boxes with labels, found none"),
    ],
)
def test_broken_rows_are_errors(rows, message):
    picture("d/a.jpg")
    text("d/t.csv", f"image,label,xmin,ymin,xmax,ymax\n{rows}")
    with pytest.raises(IceboxError, match=message):
        read(Source(path="d/t.csv"))


def test_boxes_outside_are_clipped_and_those_without_area_left_out_and_both_are_told():
    picture("d/a.jpg")
    rows = ["-0.5,1,5,5", "-3,1,5,5", "15,5,30,40", "30,30,40,40", "5,5,5,8", "9,9,3,3"]
    text("d/t.csv", "image,label,xmin,ymin,xmax,ymax\n" + "".join(f"a.jpg,x,{row}\n" for row in rows))
    source = Source(path="d/t.csv")
    assert [corners for _, corners, _ in read(source)["a.jpg"][1]] == [[0, 1, 5, 5], [0, 1, 5, 5], [15, 5, 20, 10]]
    assert remarks(source) == [
        "boxes that reach out of their picture, clipped: 2, a.jpg",
        "boxes without area in their picture, left out: 3, a.jpg",
    ]


def test_labels_that_are_no_class_are_an_error_or_left_out():
    picture("d/a.jpg")
    text("d/t.csv", "image,label,xmin,ymin,xmax,ymax\na.jpg,x,1,1,2,2\na.jpg,y,1,1,2,2\n")
    with pytest.raises(IceboxError, match=r"d/t\.csv: 'y' is none of the classes x"):
        read(Source(path="d/t.csv", classes=["x"]))
    source = Source(path="d/t.csv", classes=["x"], unknown="drop")
    assert len(read(source)["a.jpg"][1]) == 1
    assert remarks(source) == ["boxes left out, since their label is none of `classes`: 1, a.jpg (y)"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nothing", r"nothing \(looked in .*expected COCO's"),
        ("no.json", r"no file no\.json"),
        ("no.csv", r"no file no\.csv"),
    ],
)
def test_a_path_where_nothing_is_is_an_error_that_says_what_belongs_there(path, message):
    with pytest.raises(IceboxError, match=message):
        read(Source(path=path))


def test_files_do_not_lead_out_of_the_folder():
    voc("a")
    text("outside.xml", "<annotation/>")
    Path("d/Annotations/a.xml").unlink()
    Path("d/Annotations/a.xml").symlink_to(Path("outside.xml").absolute())
    with pytest.raises(IceboxError, match="leads out of the folder"):
        read(Source(path="d", classes=["a"]))
    picture("outside.jpg")
    coco("e/a.json", "../outside.jpg")
    with pytest.raises(IceboxError, match="leads out of the folder"):
        Source(path="e/a.json").read("../outside.jpg")


def test_new_pictures_are_those_of_a_folder_or_a_file_and_labelled_ones_have_boxes():
    yolo("train", "a", "0 0.5 0.5 0.2 0.4")
    picture("new/x/b.jpg", 1)
    source = Source(path="d", classes=["cat"])
    assert [item.source for item in source.elsewhere(Path("new"), labelled=False).items()] == ["x/b.jpg"]
    assert read(source.elsewhere(Path("d"), labelled=True))["images/train/a.jpg"][1]
    picture("e/c.jpg", 2)
    coco("e/new.json", "c.jpg", annotations=[])
    listed = Source(path="gone.json", classes=["cat"])
    assert [item.source for item in listed.elsewhere(Path("e/new.json"), labelled=False).items()] == ["c.jpg"]
    assert [item.source for item in listed.elsewhere(Path("new"), labelled=False).items()] == ["x/b.jpg"]
    assert listed.elsewhere(Path("new"), labelled=True) is None


def test_another_file_in_jsons_place_is_one_line():
    with zipfile.ZipFile("a.json", "w") as archive:
        archive.writestr("x", "y")
    with pytest.raises(IceboxError, match=r"a\.json: expected JSON"):
        read(Source(path="a.json"))
