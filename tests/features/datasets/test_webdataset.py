import io
import json
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from icebox.features.datasets.webdataset import Source
from icebox.features.errors import IceboxError


def archive(path: Path, members: dict[str, bytes], *, mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_a_sample_is_a_picture_and_its_label_in_the_order_of_the_archives(tmp_path):
    archive(tmp_path / "b.tar", {"x/1.jpg": b"one", "x/1.cls": b"3\n", "x/1.txt": b"caption"})
    archive(tmp_path / "a.tar", {"2.cls": b"0", "2.PNG": b"two" * 5000, "3.jpeg": b"three", "3.cls": "ö".encode()})
    source = Source(path=str(tmp_path))
    found = list(source.items())
    assert [(i.item_id, i.label, i.split) for i in found] == [("a/2", "0", ""), ("a/3", "ö", ""), ("b/x/1", "3", "")]
    assert [source.read(item.source) for item in found] == [b"two" * 5000, b"three", b"one"]


def test_threads_read_side_by_side(tmp_path):
    for n in range(3):
        archive(
            tmp_path / f"{n}.tar",
            {f"{i}.{end}": f"{n} {i}".encode() * (i + 1) for i in range(200) for end in ("jpg", "cls")},
        )
    source = Source(path=tmp_path)
    found = list(source.items())
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda item: source.read(item.source), found))
    assert [content.decode() for content in read] == [item.label for item in found]


def test_labels_and_groups_may_stand_in_json(tmp_path):
    values = [{"class": 4, "patient": "p1"}, {"class": "cat", "patient": 7}]
    archive(
        tmp_path / "a.tar", {f"{i}.{e}": json.dumps(v).encode() for i, v in enumerate(values) for e in ("json", "jpg")}
    )
    found = list(Source(path=tmp_path, label="json", key="class", group="patient").items())
    assert [(item.label, item.group) for item in found] == [("4", "p1"), ("cat", "7")]


@pytest.mark.parametrize("names", [("pets-train-000.tar", "pets-val-000.tar"), ("train/0.tar", "val/0.tar")])
def test_archives_called_by_splits_are_official_splits(tmp_path, names):
    for name in names:
        archive(tmp_path / name, {"1.jpg": b"x", "1.cls": b"0"})
    assert [item.split for item in Source(path=tmp_path).items()] == ["train", "val"]


def test_one_archive_without_a_splits_name_and_there_are_none(tmp_path):
    for name in ("train.tar", "more.tar"):
        archive(tmp_path / name, {"1.jpg": b"x", "1.cls": b"0"})
    assert {item.split for item in Source(path=tmp_path).items()} == {""}


@pytest.mark.parametrize("name", ["../evil.jpg", "/etc/evil.jpg", "a/../../evil.jpg"])
def test_members_that_lead_out_are_refused(tmp_path, name):
    archive(tmp_path / "a.tar", {"1.jpg": b"x", "1.cls": b"0", name: b"evil"})
    with pytest.raises(IceboxError, match="leads out of the archive"):
        list(Source(path=tmp_path).items())


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_members_that_are_no_files_are_refused(tmp_path, kind):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        info = tarfile.TarInfo("1.jpg")
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(IceboxError, match=r"member '1\.jpg' is a link, a device"):
        list(Source(path=tmp_path).items())


@pytest.mark.parametrize(
    ("members", "settings", "message"),
    [
        ({"1.jpg": b"x"}, {}, "sample '1': no member ending in 'cls' for the label, there are: jpg; set `label`"),
        ({"1.cls": b"0"}, {}, "expected one member ending in jpg, jpeg, png, webp, found cls"),
        ({"1.jpg": b"x", "1.png": b"y", "1.cls": b"0"}, {}, "expected one member ending in"),
        ({"1.jpg": b"x", "1.json": b"{"}, {"label": "json"}, "expected a JSON object with 'label'"),
        ({"1.jpg": b"x", "1.json": b"{}"}, {"label": "json", "key": "y"}, "expected a JSON object with 'y'"),
    ],
)
def test_samples_without_one_picture_and_a_label_are_named(tmp_path, members, settings, message):
    archive(tmp_path / "a.tar", members)
    with pytest.raises(IceboxError, match=message):
        list(Source(path=tmp_path, **settings).items())


def test_folders_without_plain_archives_are_named(tmp_path):
    with pytest.raises(IceboxError, match=r"there is no folder .*put the \.tar archives there"):
        list(Source(path=tmp_path / "none").items())
    with pytest.raises(IceboxError, match=r"found none$"):
        list(Source(path=tmp_path).items())
    archive(tmp_path / "a.tar.gz", {"1.jpg": b"x"}, mode="w:gz")
    with pytest.raises(IceboxError, match=r"a\.tar\.gz is compressed .*unpack it to \.tar"):
        list(Source(path=tmp_path).items())


def test_archives_that_are_cut_short_are_refused(tmp_path):
    path = archive(tmp_path / "a.tar", {"1.jpg": b"x" * 5000, "1.cls": b"0", "2.jpg": b"x" * 9000, "2.cls": b"1"})
    source = Source(path=tmp_path)
    last = list(source.items())[-1]
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(IceboxError, match="no whole, uncompressed tar"):
        list(source.items())
    with pytest.raises(IceboxError, match="cut short"):
        source.read(last.source)


def test_an_archive_outside_the_folder_is_not_read(tmp_path):
    archive(tmp_path / "out/a.tar", {"1.jpg": b"x", "1.cls": b"0"})
    (tmp_path / "in").mkdir()
    with pytest.raises(IceboxError, match="leads out of the folder"):
        Source(path=tmp_path / "in").read("../out/a.tar:512:1")


def test_other_files_and_compressed_archives_beside_plain_ones_are_counted(tmp_path):
    archive(tmp_path / "a.tar", {"1.jpg": b"x", "1.cls": b"0"})
    archive(tmp_path / "b.tar.gz", {"1.jpg": b"x"}, mode="w:gz")
    (tmp_path / "notes.txt").write_text("x")
    os.mkfifo(tmp_path / "c.tar")
    source = Source(path=tmp_path)
    assert len(list(source.items())) == 1
    assert [(remark.description, remark.examples) for remark in source.account.remarks()] == [
        ("archives passed over: not plain .tar (unpack them to .tar)", ["b.tar.gz"]),
        ("files passed over: no .tar archives", ["c.tar", "notes.txt"]),
    ]


def test_a_test_archive_beside_one_without_a_splits_name_is_an_error(tmp_path):
    for name in ("test.tar", "more.tar"):
        archive(tmp_path / name, {"1.jpg": b"x", "1.cls": b"0"})
    with pytest.raises(IceboxError, match=r"of every file or of none, found none in more; rename"):
        list(Source(path=tmp_path).items())


@pytest.mark.parametrize("size", [2**60, 10**6])
def test_a_size_that_the_archive_does_not_have_is_not_made_room_for(tmp_path, size):
    archive(tmp_path / "a.tar", {"1.jpg": b"x", "1.cls": b"0"})
    with pytest.raises(IceboxError, match="is cut short"):
        Source(path=tmp_path).read(f"a.tar:512:{size}")


@pytest.mark.parametrize("content", [b"[" * 100_000, b"{" * 10, b'{"label": ' + b"9" * 5000 + b"}"])
def test_json_that_cant_be_read_is_one_line(tmp_path, content):
    archive(tmp_path / "a.tar", {"1.jpg": b"x", "1.json": content})
    with pytest.raises(IceboxError, match="expected a JSON object with 'label'") as caught:
        list(Source(path=tmp_path, label="json").items())
    assert "\n" not in str(caught.value)


def samples(count: int) -> dict[str, bytes]:
    return {f"{i}.{end}": bytes(600) if end == "jpg" else b"0" for i in range(count) for end in ("jpg", "cls")}


def test_an_archive_that_was_cut_between_two_members_is_told(tmp_path):
    path = archive(tmp_path / "a.tar", samples(4))
    path.write_bytes(path.read_bytes()[: 2 * (512 + 1024 + 512 + 512)])
    source = Source(path=tmp_path)
    assert len(list(source.items())) == 2
    (remark,) = source.account.remarks()
    assert remark.sentence().startswith("archives without a tar's end mark, as those that were cut short: 1, ")


@pytest.mark.parametrize("damage", [lambda tar, at: tar[: at + 100], lambda tar, at: tar[:at] + b"x" + tar[at + 1 :]])
def test_a_damaged_or_half_header_is_no_end_of_an_archive(tmp_path, damage):
    path = archive(tmp_path / "a.tar", samples(4))
    at = 2 * (512 + 1024 + 512 + 512)
    path.write_bytes(damage(path.read_bytes(), at))
    with pytest.raises(IceboxError, match=r"a\.tar is cut short or damaged after byte 5,120"):
        list(Source(path=tmp_path).items())


def test_hidden_members_are_counted_and_a_label_must_be_text(tmp_path):
    archive(tmp_path / "a.tar", samples(2) | {"._0.jpg": b"mac"})
    source = Source(path=tmp_path)
    assert len(list(source.items())) == 2
    assert [remark.count for remark in source.account.remarks()] == [1]
    archive(tmp_path / "a.tar", {"1.jpg": b"x", "1.cls": b"\xff"})
    with pytest.raises(IceboxError, match=r"sample '1': its label is not UTF-8: b'\\xff'"):
        list(source.items())


def test_names_with_dots_say_where_a_sample_ends(tmp_path):
    archive(tmp_path / "a.tar", {"1.left.jpg": b"x", "1.left.cls": b"0"})
    with pytest.raises(IceboxError, match=r"found left\.cls, left\.jpg \(a sample's name ends at its first dot\)"):
        list(Source(path=tmp_path).items())
