import io
import sys

import datasets
import numpy as np
import pytest
from PIL import Image

from icebox.features.abc.dataset import Pair
from icebox.features.datasets.huggingface import Source
from icebox.features.errors import IceboxError

CLASSES = datasets.ClassLabel(names=["cat", "dog"])


@pytest.fixture(autouse=True)
def quiet():
    datasets.disable_progress_bars()


def png(level: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (4, 3), level).save(stream, "png")
    return stream.getvalue()


def pictures(levels: list[int], labels: list[int]) -> datasets.Dataset:
    columns = {"image": [{"bytes": png(level), "path": None} for level in levels], "label": labels}
    return datasets.Dataset.from_dict(
        columns, features=datasets.Features({"image": datasets.Image(), "label": CLASSES})
    )


def texts(**columns: list) -> datasets.Dataset:
    return datasets.Dataset.from_dict(columns)


def test_pictures_saved_to_disk_come_as_their_own_bytes_with_named_labels(tmp_path):
    parts = {"train": pictures([0, 99], [1, 0]), "validation": pictures([7], [1]), "test": pictures([9], [0])}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "pets")
    source = Source(path=str(tmp_path / "pets"), image="image")
    found = list(source.items())
    assert source.modality == "image"
    assert [(i.item_id, i.label, i.split) for i in found] == [
        ("train/0", "dog", "train"), ("train/1", "cat", "train"),
        ("validation/0", "dog", "val"), ("test/0", "cat", "test"),
    ]  # fmt: skip
    assert [source.read(item.source) for item in found] == [png(0), png(99), png(7), png(9)]


def test_a_dataset_without_splits_is_numbered(tmp_path):
    texts(text=["naïve", "北京"], label=["a", "b"], who=["p", "q"]).save_to_disk(tmp_path / "t")
    source = Source(path=tmp_path / "t", text="text", group="who")
    found = list(source.items())
    assert [(i.item_id, i.label, i.split, i.group) for i in found] == [("0", "a", "", "p"), ("1", "b", "", "q")]
    assert [source.read(item.source) for item in found] == ["naïve", "北京"]


def test_rows_taken_out_of_order_are_read_in_the_saved_order(tmp_path):
    texts(text=list("abcdef"), label=list("xyxyxy")).shuffle(seed=3).select([4, 1, 2]).save_to_disk(tmp_path / "t")
    source = Source(path=tmp_path / "t", text="text")
    trusted = datasets.load_from_disk(tmp_path / "t")
    found = list(source.items())
    assert [source.read(item.source) for item in found] == list(trusted["text"])
    assert [item.label for item in found] == list(trusted["label"])


def test_pairs_slices_and_chosen_splits(tmp_path):
    def rows(n: int) -> datasets.Dataset:
        return texts(p=[f"p{i} &amp;" for i in range(n)], h=["h"] * n, label=list(range(n)), genre=["g"] * n)

    names = {"train": rows(2), "validation_matched": rows(1), "validation_mismatched": rows(1), "test_matched": rows(1)}
    datasets.DatasetDict(names).save_to_disk(tmp_path / "nli")
    taken = {"train": "train", "validation_matched": "test", "validation_mismatched": "test-mismatched"}
    source = Source(path=tmp_path / "nli", first="p", second="h", splits=taken, slices=["genre"], clean=["html"])
    found = list(source.items())
    assert [(item.item_id, item.split) for item in found] == [
        ("train/0", "train"), ("train/1", "train"),
        ("validation_matched/0", "test"), ("validation_mismatched/0", "test-mismatched"),
    ]  # fmt: skip
    assert source.read(found[1].source) == Pair("p1 &", "h")
    assert dict(found[0].slices) == {"genre": "g"}
    with pytest.raises(IceboxError, match="say what validation_matched, validation_mismatched, test_matched is with"):
        list(Source(path=tmp_path / "nli", first="p", second="h").items())


def test_rows_without_a_label_are_an_error_or_left_out(tmp_path):
    table = pictures([0, 1, 2], [0, -1, 1])
    table.save_to_disk(tmp_path / "t")
    with pytest.raises(IceboxError, match=r"row 1: no label; .*drop_labels"):
        list(Source(path=tmp_path / "t", image="image").items())
    source = Source(path=tmp_path / "t", image="image", drop_labels=[""])
    assert len(list(source.items())) == 2
    assert [remark.sentence() for remark in source.account.remarks()] == ["rows left out whose label is '': 1, /1"]


def test_a_dataset_by_its_name_is_loaded_as_the_library_does(tmp_path, monkeypatch):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/train.csv").write_text("text,label\none,a\ntwo,b\n")
    (tmp_path / "notes/test.csv").write_text("text,label\nthree,a\n")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    source = Source(name=str(tmp_path / "notes"), text="text")
    found = list(source.items())
    assert [(item.item_id, item.split) for item in found] == [
        ("train/0", "train"), ("train/1", "train"), ("test/0", "test"),
    ]  # fmt: skip
    assert source.read(found[2].source) == "three"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"text": "text"}, "either `name` .* or `path`"),
        ({"path": "x", "name": "y", "text": "text"}, "either `name` .* or `path`"),
        ({"path": "x"}, "expected `image`, or `text`, or `first` and `second`"),
        ({"path": "x", "text": "a", "image": "b"}, "only one of these"),
        ({"path": "x", "first": "a"}, "expected `image`, or `text`, or `first` and `second`"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(IceboxError, match=message):
        Source(**settings)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(IceboxError, match="expected a folder that `save_to_disk` wrote"):
        list(Source(path=tmp_path / "none", text="text").items())
    texts(text=["a"], label=["x"]).save_to_disk(tmp_path / "t")
    with pytest.raises(IceboxError, match="has no column 'tweet'; there are: text, label"):
        list(Source(path=tmp_path / "t", text="tweet").items())
    with pytest.raises(IceboxError, match="has no row '/1'"):
        Source(path=tmp_path / "t", text="text").read("/1")


def test_without_the_library_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(IceboxError, match="pip install datasets"):
        list(Source(path=tmp_path, text="text").items())


def test_pictures_by_their_path_are_read_from_the_folder_only(tmp_path, monkeypatch):
    for name in ("t/a.png", "b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png(5))
    cells = [{"bytes": None, "path": str(tmp_path / name)} for name in ("t/a.png", "b.png")]
    features = datasets.Features({"image": datasets.Image(), "label": CLASSES})
    table = datasets.Dataset.from_dict({"image": cells, "label": [0, 1]}, features=features)
    monkeypatch.setattr(datasets, "load_from_disk", lambda _: table)  # save_to_disk itself puts the bytes in
    source = Source(path=tmp_path / "t", image="image")
    within, outside = source.items()
    assert source.read(within.source) == png(5)
    with pytest.raises(IceboxError, match="leads out of the folder"):
        source.read(outside.source)


def test_arrays_of_numbers_are_no_pictures(tmp_path):
    texts(image=[np.zeros((2, 2)).tolist()], label=["x"]).save_to_disk(tmp_path / "t")
    source = Source(path=tmp_path / "t", image="image")
    with pytest.raises(IceboxError, match="column 'image' holds no picture"):
        source.read(next(source.items()).source)


@pytest.mark.parametrize(("revision", "determined"), [("a" * 40, True), ("main", False), (None, False)])
def test_a_commit_of_the_hub_determines_contents(revision, determined):
    source = Source(name="rotten", revision=revision, text="text")
    assert (source.content_settings() is not None) == determined
    other = Source(name="rotten", revision=revision, text="text", clean=["lower"], label="other")
    assert determined == (other.content_settings() != source.content_settings())


def test_a_folder_may_be_written_anew(tmp_path):
    assert Source(path=tmp_path, revision="a" * 40, text="text").content_settings() is None
