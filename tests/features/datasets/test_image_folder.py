import os
import socket
from pathlib import Path

import pytest
from PIL import Image

from icebox.features.datasets.image_folder import Source
from icebox.features.datasets.readers import group_pattern
from icebox.features.errors import IceboxError
from icebox.features.images.decoding import FORMATS, IMAGE_SUFFIXES


@pytest.fixture
def folder(tmp_path):
    """Calling it makes the files under a fresh folder, which it returns; a file's content is its own name."""

    def make(*names: str) -> Path:
        for name in names:
            path = tmp_path / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode())
        return tmp_path / "data"

    return make


def test_labels_are_folders_and_the_order_is_that_of_the_paths(folder):
    root = folder("b/2.PNG", "b/10.jpg", "a/z.jpeg", "a-b/1.webp")
    items = list(Source(path=root).items())
    assert [item.item_id for item in items] == ["a-b/1.webp", "a/z.jpeg", "b/10.jpg", "b/2.PNG"]
    assert [item.label for item in items] == ["a-b", "a", "b", "b"]
    assert {(item.split, item.group) for item in items} == {("", "")}


def test_what_is_read_are_the_files_bytes(folder):
    source = Source(path=folder("a/1.png", "b/x/2.png"))
    assert [source.read(item.source) for item in source.items()] == [b"a/1.png", b"b/x/2.png"]


def test_the_order_is_not_the_file_systems(folder, monkeypatch):
    root = folder(*(f"{c}/{n}.png" for c in "ab" for n in range(9)))
    ordered = list(Source(path=root).items())
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda *a, **k: [(d, s, f[::-1]) for d, s, f in walk(*a, **k)][::-1])
    assert list(Source(path=root).items()) == ordered


def remarks(source: Source) -> dict[str, tuple[int, str]]:
    return {remark.description: (remark.count, ", ".join(remark.examples)) for remark in source.account.remarks()}


def test_hidden_files_other_files_and_empty_folders_are_passed_over_and_counted(folder):
    root = folder("a/1.png", "b/1.png", "a/._1.png", ".cache/c/1.png", "a/x.TXT", "LICENSE", "c/notes.txt")
    source = Source(path=root)
    for _ in range(2):  # an account of one reading, not of several
        assert [item.item_id for item in source.items()] == ["a/1.png", "b/1.png"]
        assert remarks(source) == {
            "folders passed over: hidden": (1, ".cache"),
            "files passed over: without an ending": (1, "LICENSE"),
            "files passed over: hidden": (1, "a/._1.png"),
            "files passed over: ending .txt, no picture's": (2, "a/x.TXT, c/notes.txt"),
            "class folders without pictures": (1, "c"),
        }


def test_a_pipe_or_socket_called_like_a_picture_is_passed_over_and_never_opened(folder):
    root = folder("a/1.png", "b/1.png")
    os.mkfifo(root / "a/2.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(root / "b/s.jpg"))
    source = Source(path=root)
    assert len(list(source.items())) == 2
    assert remarks(source) == {
        "files passed over: no plain files, but pipes, sockets or devices": (2, "a/2.png, b/s.jpg")
    }
    with pytest.raises(IceboxError, match=r"a/2\.png is no file, but a folder, pipe"):
        source.read("a/2.png")


def test_endings_are_those_that_the_decoder_knows():
    Image.init()
    pillows = {ending for ending, name in Image.registered_extensions().items() if name in FORMATS}
    assert pillows - {".pfm"} | {".mpo"} == IMAGE_SUFFIXES  # pfm holds floating-point numbers


@pytest.mark.parametrize("ending", ["jfif", "JPE", "ppm", "pgm", "pbm", "pnm", "jp2", "mpo"])
def test_pictures_of_rarer_endings_are_taken(folder, ending):
    root = folder("a/1.png", f"b/1.{ending}")
    assert [item.label for item in Source(path=root).items()] == ["a", "b"]


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("Training", "Validation", "Testing"),
        ("TRAIN", "valid", "TEST"),
        ("train_set", "val_set", "test_set"),
        ("trainset", "devset", "testset"),
        ("train-images", "dev-images", "eval"),
        ("seg_train", "seg_val", "seg_test"),
    ],
)
def test_folders_of_splits_are_known_by_many_names(folder, train, val, test):
    names = {train: "train", val: "val", test: "test"}
    root = folder(*(f"{top}/{c}/1.png" for top in names for c in "ab"))
    assert {item.item_id.split("/")[0]: item.split for item in Source(path=root).items()} == names
    assert {item.label for item in Source(path=root).items()} == {"a", "b"}


@pytest.mark.parametrize(
    ("names", "splits", "odd"),
    [
        (["train/a/1.png", "test/a/1.png", "val/b/1.png", "figures/1.png"], "test, train, val", "figures"),
        (["Train/a/1.png", "Test/a/1.png", "misc/a/1.png", "old/1.png"], "Test, Train", "misc, old"),
        (["train/a/1.png", "train/1.png", "test2/a/1.png"], "train", "test2"),
        (["seg_train/a/1.png", "seg_test/b/1.png", "seg_pred/1.png"], "seg_test, seg_train", "seg_pred"),
    ],
)
def test_folders_of_splits_beside_others_are_an_error_that_names_the_odd_ones(folder, names, splits, odd):
    with pytest.raises(IceboxError, match=rf"found {splits} called by splits beside {odd}; name the latter"):
        list(Source(path=folder(*names)).items())


@pytest.mark.parametrize("names", [["train_station/day/1.png", "harbour/day/1.png"], ["train/1.png", "car/red/1.png"]])
def test_classes_whose_names_hold_a_splits_are_classes(folder, names):
    assert {item.split for item in Source(path=folder(*names)).items()} == {""}


def test_splits_below_the_classes_are_told(folder):
    source = Source(path=folder("a/train/1.png", "a/test/2.png", "b/train/1.png"))
    assert {item.label for item in source.items()} == {"a", "b"}
    (remark,) = source.account.remarks()
    assert (remark.kind, remark.examples) == ("splits_within_classes", ["a/test", "a/train", "b/train"])


def test_splits_in_a_folder_of_their_own_are_pointed_to(folder):
    root = folder("data/train/a/1.png", "data/test/b/1.png")
    with pytest.raises(IceboxError, match=rf"test, train in it are splits: set `path` to {root}/data$"):
        list(Source(path=root).items())


def test_an_empty_class_folder_within_a_split_is_named(folder):
    root = folder("train/a/1.png", "train/b/1.png", "test/a/1.png")
    (root / "test/b").mkdir()
    source = Source(path=root)
    list(source.items())
    assert remarks(source) == {"class folders without pictures": (1, "test/b")}


def test_a_link_to_itself_is_one_line(folder):
    root = folder("a/1.png", "b/1.png")
    (root / "a/2.png").symlink_to("2.png")
    with pytest.raises(IceboxError, match=r"a/2\.png"):
        list(Source(path=root).items())


@pytest.mark.parametrize("pattern", ["(.*)*x(.*)*y$", "(a+)+$", "(a|aa)+$"])
def test_a_pattern_that_would_search_for_ever_is_stopped(folder, monkeypatch, pattern):
    monkeypatch.setattr(group_pattern, "LIMIT_S", 0.1)
    root = folder(f"a/{'a' * 60}.png", "b/1.png")
    with pytest.raises(IceboxError, match=r"takes more than 0\.1 s at a/aaa.*; avoid a repeat within a repeat"):
        list(Source(path=root, group=pattern).items())


def test_folders_within_a_class_belong_to_it(folder):
    items = Source(path=folder("a/x/1.png", "a/y/1.png", "b/1.png")).items()
    assert [item.label for item in items] == ["a", "a", "b"]


def test_train_val_and_test_folders_are_official_splits(folder):
    root = folder("train/a/1.png", "train/b/1.png", "validation/a/1.png", "test/b/1.png")
    found = [(item.item_id, item.split, item.label) for item in Source(path=root).items()]
    assert found == [
        ("test/b/1.png", "test", "b"),
        ("train/a/1.png", "train", "a"),
        ("train/b/1.png", "train", "b"),
        ("validation/a/1.png", "val", "a"),
    ]


def test_a_folder_of_a_further_test_set_is_no_class(folder):
    root = folder("train/a/1.png", "train/b/1.png", "test/b/1.png", "test-night/a/1.png")
    assert {item.split: item.label for item in Source(path=root).items()}["test-night"] == "a"


def test_a_class_called_train_among_others_is_a_class(folder):
    items = Source(path=folder("train/1.png", "car/1.png")).items()
    assert [(item.label, item.split) for item in items] == [("car", ""), ("train", "")]


@pytest.mark.parametrize(("pattern", "groups"), [(r"person\d+", ["person1", "person12"]), (r"n(\d+)_", ["1", "12"])])
def test_a_group_is_the_first_bracket_or_else_the_whole_match(folder, pattern, groups):
    root = folder("ill/person12_virus_3.png", "well/person1_4.png", "ill/person1_virus_9.png")
    assert sorted({item.group for item in Source(path=root, group=pattern).items()}) == groups


def test_a_path_without_a_group_and_a_wrong_pattern_are_named(folder):
    root = folder("a/person1.png", "b/IM-7.png")
    with pytest.raises(IceboxError, match=r"finds nothing in b/IM-7\.png"):
        list(Source(path=root, group=r"person(\d+)").items())
    with pytest.raises(IceboxError, match="not a regular expression"):
        list(Source(path=root, group="(").items())


def test_a_missing_folder_no_pictures_and_a_single_class_are_refused(folder, tmp_path):
    with pytest.raises(IceboxError, match=r"no folder .*nowhere .*put the pictures there.*nowhere/CLASS/"):
        list(Source(path=tmp_path / "nowhere").items())
    with pytest.raises(IceboxError, match=r"at least two class folders.*found none"):
        list(Source(path=folder("a/1.txt")).items())
    with pytest.raises(IceboxError, match=r"at least two class folders.*found a$"):
        list(Source(path=folder("a/1.png")).items())


@pytest.mark.parametrize("name", ["0.png", "train/0.png"])
def test_a_picture_outside_every_class_is_named(folder, name):
    root = folder(name, "train/a/1.png", "train/b/1.png") if "/" in name else folder(name, "a/1.png", "b/1.png")
    with pytest.raises(IceboxError, match=rf"{name} lies in no class folder"):
        list(Source(path=root).items())


@pytest.mark.parametrize("source", ["../secret.png", "/etc/hostname", "a/../../secret.png"])
def test_nothing_outside_the_folder_is_read(folder, tmp_path, source):
    (tmp_path / "secret.png").write_bytes(b"secret")
    with pytest.raises(IceboxError, match="leads out of the folder"):
        Source(path=folder("a/1.png", "b/1.png")).read(source)


def test_links_out_of_the_folder_and_linked_folders_are_refused(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/secret.png").write_bytes(b"secret")
    root = folder("a/1.png", "b/1.png")
    (root / "a/2.png").symlink_to(tmp_path / "elsewhere/secret.png")
    with pytest.raises(IceboxError, match="leads out of the folder"):
        list(Source(path=root).items())
    with pytest.raises(IceboxError, match="leads out of the folder"):
        Source(path=root).read("a/2.png")
    (root / "a/2.png").unlink()
    (root / "c").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(IceboxError, match="is a link"):
        list(Source(path=root).items())


def test_the_folder_itself_may_be_a_link(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder("a/1.png", "b/1.png"), target_is_directory=True)
    source = Source(path=tmp_path / "link")
    assert [source.read(item.source) for item in source.items()] == [b"a/1.png", b"b/1.png"]


def test_folders_that_may_not_be_listed_are_named(folder, monkeypatch):
    root = folder("a/1.png", "b/1.png")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(IceboxError, match=r"b can't be listed: Permission denied"):
        list(Source(path=root).items())


def test_a_file_that_is_gone_is_named(folder):
    with pytest.raises(IceboxError, match=r"a/9\.png can't be read: No such file"):
        Source(path=folder("a/1.png", "b/1.png")).read("a/9.png")


def test_a_file_name_that_is_not_utf8_is_refused(folder):
    root = folder("a/1.png", "b/1.png")
    try:
        Path(os.fsdecode(os.fsencode(root / "a") + b"/caf\xe9.png")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    with pytest.raises(IceboxError, match="not a UTF-8 file name"):
        list(Source(path=root).items())


def test_a_relative_path_is_seen_from_the_working_directory(folder, monkeypatch):
    monkeypatch.chdir(folder("a/1.png", "b/1.png").parent)
    assert len(list(Source(path=Path("data")).items())) == 2


@pytest.mark.real_data
def test_patients_of_the_chest_x_rays_become_groups():
    if "ICEBOX_REAL_DATA" not in os.environ:
        pytest.skip("ICEBOX_REAL_DATA names no folder of real data")
    root = Path(os.environ["ICEBOX_REAL_DATA"]) / "chest_xray"
    items = list(Source(path=root, group=r"(person\d+|IM-\d+)").items())
    assert [sum(item.label == label for item in items) for label in ("NORMAL", "PNEUMONIA")] == [1000, 2000]
    assert 1000 < len({item.group for item in items}) < len(items)
