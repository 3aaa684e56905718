"""Masks in every layout and number format, and what is wrong with them in one line."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from icebox.features import plugins
from icebox.features.abc.targets import IGNORED
from icebox.features.errors import IceboxError

Source = plugins.load("icebox.features.datasets", "image_masks").Source
CLASSES = ["sky", "pole"]
GREY, PALETTE = 0, 3  # colour types of PNG
MASK = np.array([[0, 1, 255]], np.uint8)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def picture(path: str, value: int = 0, size: tuple[int, int] = (3, 1)) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 0, 0)).save(path)


def mask(path: str, values: np.ndarray = MASK, **settings: Any) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    image = values if isinstance(values, Image.Image) else Image.fromarray(values)
    image.save(path, "PNG", **settings)


def text(path: str, *lines: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("\n".join(lines) + "\n")


def read(**settings: Any) -> dict[str, tuple[str, list]]:
    """{id: (split, class numbers)}."""
    source = Source(**{"path": "d", "classes": CLASSES} | settings)
    return {item.item_id: (item.split, source.target(item.source).classes.tolist()) for item in source.items()}


def numbers(values: np.ndarray, **settings: Any) -> list:
    """The class numbers of one mask."""
    picture("d/images/a.jpg", size=(values.shape[1], values.shape[0]))
    mask("d/masks/a.png", values)
    [(_, found)] = read(**settings).values()
    return found


LAYOUTS: dict[str, tuple[list[tuple[str, str]], dict[str, Any], list[str]]] = {
    "split folders": (
        [("images/train/a.jpg", "masks/train/a.png"), ("images/val/b.jpg", "masks/val/b.png")],
        {},
        ["train", "val"],
    ),
    "no splits, deeper folders": ([("images/x/a.jpg", "masks/x/a.png"), ("images/b.jpg", "masks/b.png")], {}, ["", ""]),
    "CamVid as SegNet has it": (
        [("test/a.png", "testannot/a.png"), ("train/a.png", "trainannot/a.png")],
        {"images": "{split}/{name}", "masks": "{split}annot/{name}", "splits": {"train": "train", "test": "test"}},
        ["test", "train"],
    ),
    "Cityscapes": (
        [
            ("leftImg8bit/train/ulm/a_leftImg8bit.png", "gtFine/train/ulm/a_gtFine_labelTrainIds.png"),
            ("leftImg8bit/val/bonn/b_leftImg8bit.png", "gtFine/val/bonn/b_gtFine_labelTrainIds.png"),
        ],
        {
            "images": "leftImg8bit/{split}/{name}_leftImg8bit.png",
            "masks": "gtFine/{split}/{name}_gtFine_labelTrainIds.png",
            "splits": {"train": "train", "val": "test"},
        },
        ["train", "test"],
    ),
    "ADE20K": (
        [
            ("images/training/a.jpg", "annotations/training/a.png"),
            ("images/validation/b.jpg", "annotations/validation/b.png"),
        ],
        {"masks": "annotations", "splits": {"validation": "test", "training": "train"}},
        ["train", "test"],
    ),
    "only some of the splits": (
        [("images/train/a.jpg", "masks/train/a.png"), ("images/extra/b.jpg", "nowhere.png")],
        {"splits": {"train": "train"}},
        ["train"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_pictures_find_their_masks_and_splits_in_the_usual_layouts(name):
    files, settings, splits = LAYOUTS[name]
    for i, (image, of_image) in enumerate(files):
        picture(f"d/{image}", i)
        mask(f"d/{of_image}")
    found = read(**settings)
    assert [split for split, _ in found.values()] == splits
    assert all(classes == [[0, 1, IGNORED]] for _, classes in found.values())


def voc(*names: str) -> dict[str, str]:
    for i, name in enumerate(names):
        picture(f"d/JPEGImages/{name}.jpg", i)
        mask(f"d/SegmentationClass/{name}.png")
    return {"images": "JPEGImages", "masks": "SegmentationClass", "lists": "ImageSets/Segmentation/{split}.txt"}


def test_lists_of_names_say_the_splits_and_what_none_names_is_told():
    settings = voc("2007_1", "2007_2", "2007_3")
    text("d/ImageSets/Segmentation/train.txt", "2007_1")
    text("d/ImageSets/Segmentation/val.txt", "2007_3")
    text("d/ImageSets/Segmentation/trainval.txt", "2007_1", "2007_3")
    assert {name: split for name, (split, _) in read(**settings).items()} == {
        "JPEGImages/2007_1.jpg": "train",
        "JPEGImages/2007_3.jpg": "val",
    }
    source = Source(path="d", classes=CLASSES, **settings, splits={"trainval": "train"})
    assert [item.split for item in source.items()] == ["train", "train"]
    assert [remark.sentence() for remark in source.account.remarks()] == [
        "lists passed over: called by no split, or not named in `splits`: 2, ImageSets/Segmentation/train.txt, "
        "ImageSets/Segmentation/val.txt",
        "pictures passed over: in no list: 1, JPEGImages/2007_2.jpg",
    ]


@pytest.mark.parametrize(
    ("train", "val", "message"),
    [
        (["2007_9"], ["2007_1"], r"train\.txt: there is no picture JPEGImages/2007_9"),
        (["2007_1"], ["2007_1"], r"val\.txt: 2007_1 is in the list of train, too"),
    ],
)
def test_lists_that_name_no_picture_or_one_twice_are_errors(train, val, message):
    settings = voc("2007_1")
    text("d/ImageSets/Segmentation/train.txt", *train)
    text("d/ImageSets/Segmentation/val.txt", *val)
    with pytest.raises(IceboxError, match=message):
        read(**settings)


def test_a_table_lists_pictures_masks_splits_and_groups():
    for i, name in enumerate("abc"):
        picture(f"d/p/{name}.jpg", i)
        mask(f"d/m/{name}.png")
    text("d/t.csv", "image,mask,part,drive", "p/a.jpg,m/a.png,train,1", "p\\b.jpg,m\\b.png,valid,2", "p/c,m/c,test,3")
    source = Source(path="d/t.csv", classes=CLASSES, split="part", group="drive")
    items = list(source.items())
    assert [(item.source, item.split, item.group) for item in items] == [
        ("p/a.jpg", "train", "1"),
        ("p/b.jpg", "val", "2"),
        ("p/c.jpg", "test", "3"),
    ]
    assert source.target("p/b.jpg").classes.tolist() == [[0, 1, IGNORED]]
    assert source.item_files("p/c.jpg") == ["p/c.jpg", "m/c.png"]
    fresh = Source(path="d/t.csv", classes=CLASSES)
    assert fresh.target_file("p/a.jpg") == "m/a.png"


@pytest.mark.parametrize(
    ("rows", "message"),
    [(["p/a.jpg,"], "column 'mask' is empty"), (["p/a.jpg,m/a.png", "p/a.jpg,m/b.png"], r"has two masks.*m/b\.png")],
)
def test_tables_with_a_missing_or_another_mask_are_errors(rows, message):
    picture("d/p/a.jpg")
    text("d/t.csv", "image,mask", *rows)
    with pytest.raises(IceboxError, match=message):
        list(Source(path="d/t.csv", classes=CLASSES).items())


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("kind", [GREY, PALETTE])
def test_values_are_those_that_were_written_in_any_depth(bits, kind):
    picture("d/images/a.jpg", size=(4, 1))
    Path("d/masks").mkdir()
    Path("d/masks/a.png").write_bytes(png([0, 1, 1, 0], bits, kind))
    assert read()["images/a.jpg"][1] == [[0, 1, 1, 0]]


def png(values: list[int], bits: int, kind: int) -> bytes:
    """A PNG of one row, in a depth in which Pillow writes none."""
    row = int("".join(f"{value:0{bits}b}" for value in values).ljust(-(-len(values) * bits // 8) * 8, "0"), 2)
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", len(values), 1, bits, kind, 0, 0, 0),
        **({b"PLTE": bytes(range(6))} if kind == PALETTE else {}),
        b"IDAT": zlib.compress(b"\0" + row.to_bytes(-(-len(values) * bits // 8), "big")),
        b"IEND": b"",
    }
    whole = b"\x89PNG\r\n\x1a\n"
    for name, content in chunks.items():
        whole += struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return whole


def test_values_of_16_bits_are_taken():
    assert numbers(np.array([[300, 7]], np.uint16), classes={300: "x", 7: "y"}) == [[0, 1]]


def test_a_palettes_indices_are_the_values_unless_colours_are_named():
    image = Image.fromarray(MASK).convert("P")
    image.putpalette([0, 0, 0, 128, 0, 0, *[9] * 759, 224, 224, 192])
    image.putdata([0, 1, 255])
    picture("d/images/a.jpg")
    mask("d/masks/a.png", image)
    assert read()["images/a.jpg"][1] == [[0, 1, IGNORED]]
    colors = {"pole": [128, 0, 0], "sky": [0, 0, 0], "border": [224, 224, 192]}
    assert read(colors=colors, ignore="border")["images/a.jpg"][1] == [[0, 1, IGNORED]]


def test_colours_come_in_the_order_of_the_classes_or_by_name_or_from_a_file():
    values = np.array([[[128, 64, 128], [0, 0, 192], [0, 0, 0]]], np.uint8)
    colors = [[128, 64, 128], [0, 0, 192]]
    assert numbers(values, colors=[*colors, [0, 0, 0]], classes=[*CLASSES, "void"], ignore="void") == [[0, 1, IGNORED]]
    assert numbers(values, colors=colors, unknown="ignore") == [[0, 1, IGNORED]]
    text("c.txt", "0 0 0\t\tvoid", "128 64 128\tRoad surface", "0 0 192 \t pavement")
    assert numbers(values, classes=None, class_file="c.txt", ignore="void") == [[0, 1, IGNORED]]
    text("c.csv", "name,r,g,b", "void,0,0,0", "Road surface, 128, 64, 128", "pavement,0,0,192")
    assert numbers(values, classes=None, class_file="c.csv", ignore=["void"]) == [[0, 1, IGNORED]]


def test_grey_that_is_saved_as_colour_is_grey():
    assert numbers(np.repeat(MASK[..., None], 3, axis=2)) == [[0, 1, IGNORED]]


def test_values_may_share_a_name_start_at_an_offset_and_be_ignored_by_name_or_value():
    values = np.array([[0, 1, 2]], np.uint8)
    assert numbers(values, offset=1, ignore=0) == [[IGNORED, 0, 1]]
    assert numbers(values, classes={0: "road", 2: "road", 1: "car"}) == [[0, 1, 0]]
    assert numbers(values, classes=["a", "void", "b"], ignore="void") == [[0, IGNORED, 1]]
    assert numbers(values, classes=["a", "void", "b"], ignore=[1, 255]) == [[0, IGNORED, 1]]
    source = Source(path="d", classes=["a", "void", "b"], ignore=["void"])
    assert source.classes == ("a", "b")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": None}, "expected `classes` or `class_file`"),
        ({"class_file": "c.txt"}, "expected `classes` or `class_file`"),
        ({"classes": ["a", "a"]}, "'a' stands there twice"),
        ({"classes": {0: "a"}, "offset": 1}, "expected names in order beside `offset`"),
        ({"classes": {-1: "a"}}, "expected values of 0 to 65,535, found -1"),
        ({"classes": []}, "expected 1 to .* classes, found 0"),
        ({"colors": [[0, 0, 0]]}, "expected one for each of 2 classes, found 1"),
        ({"colors": {"sky": [0, 0, 0]}}, "found none for 'pole'"),
        ({"colors": [[0, 0, 0], [0, 0, 256]]}, r"expected \[r, g, b\] of 0 to 255"),
        ({"colors": [[0, 0, 0], [0, 0, 0]]}, "found one twice"),
        ({"ignore": "skies"}, "no class is called 'skies'; did you mean 'sky'"),
        ({"images": "pictures"}, "there is no folder d/pictures"),
        ({"splits": {"train": "train"}}, "splits: none is called 'train'"),
        ({"images": "{split}"}, "expected pictures|called by no split"),
    ],
)
def test_settings_that_do_not_fit_are_errors(settings, message):
    picture("d/images/a.jpg")
    mask("d/masks/a.png")
    with pytest.raises(IceboxError, match=message):
        read(**settings)


def test_a_folder_that_is_not_there_is_named():
    with pytest.raises(IceboxError, match=r"there is no folder data/raw/streets/images \(looked in"):
        read(path="data/raw/streets")


def saved(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(MASK).save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (saved("JPEG"), r"d/masks/a\.png: expected a mask as PNG, found a JPEG, which blurs"),
        (saved("BMP"), r"d/masks/a\.png: expected a mask as PNG, found .* bytes that start with"),
        (b"<html>", "found 6 bytes that are a page of the web"),
        (b"", "found an empty file"),
        (saved("PNG")[:-30], r"d/masks/a\.png: damaged or cut short"),
        (None, r"d/masks/a\.png: there is no such mask, which images/a\.jpg needs; .* correct `masks`"),
    ],
)
def test_masks_that_are_none_are_errors_that_name_the_file(content, message):
    picture("d/images/a.jpg")
    if content is not None:
        Path("d/masks").mkdir()
        Path("d/masks/a.png").write_bytes(content)
    with pytest.raises(IceboxError, match=message):
        read()


def test_values_beyond_the_classes_are_an_error_that_names_the_file_and_the_values_or_are_told():
    with pytest.raises(IceboxError, match=r"d/masks/a\.png: expected values of classes .*, found 2, 9 \(3 pixels\)"):
        numbers(np.array([[0, 2, 9, 9]], np.uint8))
    assert numbers(np.array([[0, 2, 9, 9]], np.uint8), unknown="ignore") == [[0, IGNORED, IGNORED, IGNORED]]
    with pytest.raises(IceboxError, match="expected a mask of class numbers, found colours; say with `colors`"):
        numbers(np.array([[[0, 2, 9]]], np.uint8))
    with pytest.raises(IceboxError, match=r"found \[0, 2, 9\]"):
        numbers(np.array([[[0, 2, 9]]], np.uint8), colors=[[1, 1, 1], [2, 2, 2]])


def test_masks_without_a_picture_are_told_and_one_name_for_two_pictures_is_an_error():
    picture("d/images/a.jpg")
    for name in "ab":
        mask(f"d/masks/{name}.png")
    source = Source(path="d", classes=CLASSES)
    assert len(list(source.items())) == 1
    assert [remark.sentence() for remark in source.account.remarks()] == [
        "masks without a picture, passed over: 1, masks/b.png"
    ]
    picture("d/images/a.png")
    with pytest.raises(IceboxError, match=r"images/a\.jpg and images/a\.png are both the picture a"):
        list(source.items())


def test_masks_do_not_lead_out_of_the_folder():
    picture("d/images/a.jpg")
    mask("outside.png")
    Path("d/masks").mkdir()
    Path("d/masks/a.png").symlink_to(Path("outside.png").absolute())
    with pytest.raises(IceboxError, match="leads out of the folder"):
        read()


def test_groups_are_found_in_paths():
    for i, name in enumerate(["x_1", "x_2", "y_1"]):
        picture(f"d/images/{name}.jpg", i)
    source = Source(path="d", classes=CLASSES, group=r"(\w)_\d")
    assert [item.group for item in source.items()] == ["x", "x", "y"]


def test_pictures_elsewhere_have_masks_only_where_they_are_labelled():
    picture("d/images/train/a.jpg")
    picture("new/x/b.jpg", 1)
    picture("test/images/odd/c.jpg", 2)
    mask("test/masks/odd/c.png")
    source = Source(path="d", classes=CLASSES, splits={"train": "train"}, group="(a)")
    unlabelled = source.elsewhere(Path("new"), labelled=False)
    assert [item.source for item in unlabelled.items()] == ["x/b.jpg"]
    assert unlabelled.read("x/b.jpg")
    labelled = source.elsewhere(Path("test"), labelled=True)
    [item] = labelled.items()
    assert labelled.target(item.source).classes.tolist() == [[0, 1, IGNORED]]
    assert source.elsewhere(Path("no"), labelled=True) is None
