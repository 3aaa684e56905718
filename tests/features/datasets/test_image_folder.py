import os
from pathlib import Path

import pytest

from icebox.features.datasets.image_folder import Source
from icebox.features.errors import IceboxError


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


def test_hidden_files_other_files_and_empty_folders_are_passed_over(folder):
    root = folder("a/1.png", "b/1.png", "a/._1.png", ".cache/c/1.png", "a/readme.txt", "LICENSE", "c/notes.txt")
    assert [item.item_id for item in Source(path=root).items()] == ["a/1.png", "b/1.png"]


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
