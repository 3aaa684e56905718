"""A dataset's raw files: what comes, changes or goes is noticed; what was only touched, or is not here, is not."""

import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from icebox.features import fingerprint
from icebox.features.manifest import known_contents
from icebox.pipeline.cli.app import main
from icebox.pipeline.project import paths, raw_data

PARAMS = """\
datasets: {t: {source: image_table, path: raw/table.csv, split: {val: 0.25, test: 0.25}}}
backbones: {pixels: {}}
stores: {t-pixels: {dataset: t, backbone: pixels}}
heads: {logreg: {}}
"""


@pytest.fixture
def photos(tmp_path) -> Path:
    for name in ("roses/1.jpg", "roses/2.jpg", "tulips/1.jpg"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_text(name)
    return tmp_path / "photos"


def stamp(*places: Path) -> str:
    folder = places[0].parent
    return raw_data.stamp(places, record=folder / "record.json", summary=folder / "summary.json")


def change(path: Path, text: str) -> None:
    """Write a file of the same size in the same second, as an editor can."""
    path.write_text(text)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


@pytest.mark.parametrize(
    "edit",
    [
        lambda folder: (folder / "tulips/2.jpg").write_text("new"),
        lambda folder: (folder / "roses/2.jpg").unlink(),
        lambda folder: (folder / "roses/2.jpg").rename(folder / "tulips/2.jpg"),
        lambda folder: change(folder / "roses/2.jpg", "ROSES/2.jpg"),
        lambda folder: (folder / "tulips/link.jpg").symlink_to(folder / "roses/1.jpg"),
    ],
    ids=["came", "went", "moved", "changed in place", "a link came"],
)
def test_files_that_come_change_or_go_change_the_stamp(photos, edit):
    before = stamp(photos)
    edit(photos)
    assert stamp(photos) != before


def test_a_file_that_was_only_touched_leaves_the_stamp(photos):
    before = stamp(photos)
    os.utime(photos / "roses/1.jpg", ns=(0, 1))
    assert stamp(photos) == before


def test_hidden_files_and_broken_links_leave_the_stamp(photos):
    before = stamp(photos)
    (photos / ".DS_Store").write_text("")
    (photos / "roses/gone.jpg").symlink_to("nowhere")
    assert stamp(photos) == before


def test_equal_files_have_equal_stamps_wherever_they_lie(photos, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    other = photos.rename(tmp_path / "elsewhere/pictures")
    before = stamp(other)
    assert stamp(other.rename(tmp_path / "photos")) == before


def test_nothing_is_read_again_while_nothing_changes(photos, monkeypatch):
    before = stamp(photos)
    monkeypatch.setattr(raw_data.fingerprint, "of_file", lambda path: pytest.fail(f"{path} was read again"))
    assert stamp(photos) == before


def test_a_link_to_a_folder_above_ends(photos):
    (photos / "roses/loop").symlink_to(photos)
    assert len(stamp(photos)) == 64


def test_a_table_and_the_folder_beside_it_both_count(photos, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("a")
    before = stamp(table, photos)
    (photos / "roses/1.jpg").unlink()
    changed = stamp(table, photos)
    table.write_text("b")
    assert len({before, changed, stamp(table, photos)}) == 3


def test_absent_data_has_the_stamp_that_the_manifest_was_made_with(photos):
    content = stamp(photos)
    (photos.parent / "summary.json").write_text(json.dumps({"content": content, "stamp": content}))
    assert stamp(photos.parent / "not here") == content
    (photos.parent / "summary.json").unlink()
    assert stamp(photos.parent / "not here") == raw_data.ABSENT


def test_what_the_manifest_stage_downloaded_itself_is_no_change(photos):
    content = stamp(photos)
    (photos.parent / "summary.json").write_text(json.dumps({"content": content, "stamp": raw_data.ABSENT}))
    assert stamp(photos) == raw_data.ABSENT
    (photos / "roses/1.jpg").unlink()
    assert stamp(photos) not in (content, raw_data.ABSENT)


def named_stamp(photos: Path, names: list[str]) -> str:
    """The stamp of a table beside pictures that its rows name."""
    folder = photos.parent
    (folder / "table.csv").touch()
    named = {name: photos / name for name in names}
    return raw_data.stamp(
        [folder / "table.csv"], named=named, record=folder / "record.json", summary=folder / "summary.json"
    )


@pytest.fixture
def tabled(photos):
    """A function: the stamp that the next check finds, after a manifest of two of the three pictures was made."""
    names = ["roses/1.jpg", "tulips/1.jpg"]
    first = named_stamp(photos, [])  # no manifest yet
    folder = photos.parent
    contents = raw_data.contents_of(
        [folder / "table.csv"], {name: photos / name for name in names}, record=folder / "record.json"
    )
    (folder / "summary.json").write_text(json.dumps({**contents, "stamp": first}))
    assert named_stamp(photos, names) == first
    return lambda: (first, named_stamp(photos, names))


@pytest.mark.parametrize(
    "edit",
    [
        lambda folder: change(folder / "roses/1.jpg", "ROSES/1.jpg"),
        lambda folder: (folder / "tulips/1.jpg").unlink(),
        lambda folder: (folder.parent / "table.csv").write_text("another"),
    ],
    ids=["a picture changed", "a picture went", "the table changed"],
)
def test_a_named_picture_that_changes_or_goes_changes_the_stamp(photos, tabled, edit):
    edit(photos)
    before, after = tabled()
    assert after != before


@pytest.mark.parametrize(
    "edit",
    [
        lambda folder: change(folder / "roses/2.jpg", "ROSES/2.jpg"),
        lambda folder: os.utime(folder / "roses/1.jpg", ns=(0, 1)),
        lambda folder: shutil.rmtree(folder),
    ],
    ids=["one that no row names", "only touched", "no picture is here"],
)
def test_other_files_and_absent_pictures_leave_the_stamp(photos, tabled, edit):
    edit(photos)
    before, after = tabled()
    assert after == before


def test_a_picture_behind_a_table_is_watched_from_the_second_check_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i in range(8):
        (tmp_path / "raw").mkdir(exist_ok=True)
        Image.new("RGB", (4, 4), (i, 0, 0)).save(tmp_path / f"raw/{i}.png")
    rows = "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(8))
    (tmp_path / "raw/table.csv").write_text(f"path,label\n{rows}")
    (tmp_path / "params.yaml").write_text(PARAMS)

    def stamp_of_check() -> str:
        assert main(["check"]) == 0
        return paths.raw_stamp("t").read_text()

    first = stamp_of_check()
    assert main(["manifest", "t"]) == 0
    assert stamp_of_check() == first
    Image.new("RGB", (4, 4), (200, 0, 0)).save(tmp_path / "raw/3.png")
    changed = stamp_of_check()
    assert changed != first
    assert main(["manifest", "t"]) == 0
    assert stamp_of_check() == changed


def test_only_new_files_are_read_where_others_stay(photos, monkeypatch):
    monkeypatch.setattr(known_contents, "RACY_NS", -(10**12))
    stamp(photos)
    (photos / "tulips/2.jpg").write_text("new")
    (photos / "roses/2.jpg").write_text("another")
    read = []
    hashed = fingerprint.of_file
    monkeypatch.setattr(fingerprint, "of_file", lambda path: read.append(path.name) or hashed(path))
    after = stamp(photos)
    assert read == ["2.jpg", "2.jpg"]
    (photos.parent / "record.json").unlink()
    (photos.parent / "record.parquet").unlink()
    assert stamp(photos) == after
    assert len(read) == 6
