"""A manifest that is made again lists the parts of a dataset that are new or changed, and no others."""

import io
import os
import tarfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from icebox.features.abc.dataset import Dataset, Item, Part
from icebox.features.datasets import webdataset
from icebox.features.errors import IceboxError
from icebox.features.manifest import known_contents
from icebox.features.manifest.build import build
from icebox.features.manifest.known_parts import KnownParts
from icebox.features.manifest.manifest import Manifest

SIZE = 4
OLD_S = 1_600_000_000


class Numbers(Dataset):
    """The first numbers, in parts of SIZE; `listed` are those that were listed."""

    modality = "text"

    def __init__(self, count: int, labels: str = "ab", doubted: int = -1) -> None:
        self.count, self.labels, self.doubted, self.listed = count, labels, doubted, []

    def items(self) -> Iterator[Item]:
        return (item for part in self.parts() for item in part.items())

    def parts(self) -> Iterator[Part]:
        for start in range(0, self.count, SIZE):
            stop = min(start + SIZE, self.count)
            yield Part(partial(self.of, start, stop), [start, stop])

    def of(self, start: int, stop: int) -> Iterator[Item]:
        for i in range(start, stop):
            self.listed.append(i)
            if i == self.doubted:
                self.account.note("odd", "odd numbers", str(i))
            slices = {"size": "large"} if i > 10 else {}
            yield Item(item_id=f"i{i}", source=str(i), label=self.labels[i % len(self.labels)], slices=slices)

    def read(self, source: str) -> str:
        return f"number {source}"


def listed(source: Numbers, folder: Path, identity: str = "x") -> list[int]:
    """The numbers that are listed for a manifest with the record; it is the same as without."""
    known = KnownParts(folder, identity)
    rows = build(source, val=0.2, test=0.2, seed=0, known_parts=known)
    plain = Numbers(source.count, source.labels, source.doubted)
    assert rows == build(plain, val=0.2, test=0.2, seed=0)
    assert list(map(str, source.account.remarks())) == list(map(str, plain.account.remarks()))
    return list(source.listed)


def checked(numbers: list[int]) -> set[int]:
    """The starts of the parts that were listed."""
    return {number // SIZE for number in numbers}


def test_only_what_is_new_is_listed_and_one_part_to_compare(tmp_path):
    assert listed(Numbers(10), tmp_path) == list(range(10))
    assert len(checked(listed(Numbers(10), tmp_path))) == 1
    again = checked(listed(Numbers(26), tmp_path))
    assert {2, 3, 4, 5, 6} <= again
    assert len(again) <= 6
    assert len(list(tmp_path.iterdir())) == 7  # the part 8 to 10 is no more
    assert checked(listed(Numbers(12), tmp_path)) <= {0, 1, 2}


def test_another_code_or_another_task_knows_nothing(tmp_path):
    listed(Numbers(10), tmp_path)
    assert listed(Numbers(10), tmp_path, "y") == list(range(10))


def test_a_part_with_a_doubt_is_listed_each_time(tmp_path):
    listed(Numbers(12, doubted=5), tmp_path)
    assert checked(listed(Numbers(12, doubted=5), tmp_path)) >= {1}
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["cut", "flipped", "swapped", "empty", "folder", "half"])
def test_a_record_that_is_damaged_costs_a_listing(tmp_path, damage):
    listed(Numbers(12), tmp_path)
    paths = sorted(tmp_path.iterdir())
    contents = [path.read_bytes() for path in paths]
    for path, content, other in zip(paths, contents, contents[1:] + contents[:1], strict=True):
        if damage == "folder":
            path.unlink()
            path.mkdir()
        path_content = {
            "cut": content[:-9], "flipped": content[:200] + bytes([content[200] ^ 1]) + content[201:],
            "swapped": other, "empty": b"", "half": content[:20],
        }.get(damage)  # fmt: skip
        if path_content is not None:
            path.write_bytes(path_content)
    assert sorted(listed(Numbers(12), tmp_path)) == list(range(12))


def test_a_source_whose_parts_are_not_what_its_settings_say_is_listed_whole(tmp_path):
    listed(Numbers(12), tmp_path)
    assert sorted(listed(Numbers(12, labels="ba"), tmp_path)) == list(range(12))


def test_parts_that_nothing_tells_apart_are_an_error(tmp_path):
    class Same(Numbers):
        def parts(self) -> Iterator[Part]:
            return (Part(part.items, "same") for part in super().parts())

    with pytest.raises(IceboxError, match="two of same"):
        build(Same(12), val=0, test=0, seed=0, known_parts=KnownParts(tmp_path, "x"))


def test_errors_in_known_and_new_parts_are_those_of_a_whole_listing(tmp_path):
    class Repeated(Numbers):
        def of(self, start: int, stop: int) -> Iterator[Item]:
            for item in super().of(start, stop):
                yield Item(item_id="i0" if item.source == "13" else item.item_id, source=item.source, label=item.label)

    listed(Numbers(12), tmp_path)
    with pytest.raises(IceboxError, match="1 repeated: i0"):
        build(Repeated(14), val=0, test=0, seed=0, known_parts=KnownParts(tmp_path, "x"))


@pytest.fixture
def archives(tmp_path, monkeypatch) -> Path:
    """Three archives of two samples; their inodes count as old at once."""
    monkeypatch.setattr(known_contents, "RACY_NS", -(10**12))
    for i in range(3):
        archive(tmp_path / "raw" / f"{i}.tar", {"x.cls": "cat", "x.jpg": f"{i}", "y.cls": "dog", "y.jpg": f"{i}{i}"})
    return tmp_path / "raw"


def archive(path: Path, members: dict[str, str]) -> None:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content.encode()))


def of_archives(folder: Path, monkeypatch, **settings: str) -> tuple[Manifest, set[str]]:
    """(the manifest, the archives that were listed)."""
    opened: list[str] = []
    list_samples = webdataset.list_samples
    monkeypatch.setattr(
        webdataset, "list_samples", lambda path, account: opened.append(path.name) or list_samples(path, account)
    )
    known = KnownParts(folder.parent / ".icebox", "x")
    rows = build(webdataset.Source(path=folder, **settings), val=0, test=0, seed=0, known_parts=known)
    of_known = set(opened)
    assert rows == build(webdataset.Source(path=folder, **settings), val=0, test=0, seed=0)
    monkeypatch.setattr(webdataset, "list_samples", list_samples)
    return rows, of_known


def test_archives_that_are_there_already_are_not_listed_again(archives, monkeypatch):
    _, opened = of_archives(archives, monkeypatch)
    assert len(opened) == 3
    assert len(of_archives(archives, monkeypatch)[1]) == 1
    archive(archives / "00.tar", {"x.cls": "cat", "x.jpg": "new"})
    rows, opened = of_archives(archives, monkeypatch)
    assert [row.item_id for row in rows[:3]] == ["0/x", "0/y", "00/x"]
    assert "00.tar" in opened
    assert len(opened) == 2


def test_archives_replaced_or_changed_under_their_names_sizes_and_times_are_listed(archives, monkeypatch):
    for path in archives.iterdir():
        os.utime(path, (OLD_S, OLD_S))
    of_archives(archives, monkeypatch)
    time.sleep(0.02)
    members = {"x.cls": "cow", "x.jpg": "1", "y.cls": "dog", "y.jpg": "11"}
    archive(archives / "1.tar", members)
    archive(archives.parent / "other.tar", members | {"x.cls": "fox"})
    (archives.parent / "other.tar").replace(archives / "2.tar")
    for path in archives.iterdir():
        os.utime(path, (OLD_S, OLD_S))
    rows, _ = of_archives(archives, monkeypatch)
    assert [row.label for row in rows] == ["cat", "dog", "cow", "dog", "fox", "dog"]


def test_other_settings_list_archives_again(archives, monkeypatch):
    of_archives(archives, monkeypatch)
    for path in archives.iterdir():
        archive(path, {"x.cls": "cat", "x.txt": "a", "x.jpg": path.name, "y.cls": "dog", "y.txt": "b", "y.jpg": "y"})
    of_archives(archives, monkeypatch)
    assert {row.label for row in of_archives(archives, monkeypatch, label="txt")[0]} == {"a", "b"}


def test_an_archive_that_tells_a_split_only_beside_others_gets_it(archives, monkeypatch):
    for i in range(3):
        (archives / f"{i}.tar").rename(archives / f"train-{i}.tar")
    assert {row.split for row in of_archives(archives, monkeypatch)[0]} == {"train"}
    archive(archives / "more.tar", {"x.cls": "cat", "x.jpg": "new"})
    rows, _ = of_archives(archives, monkeypatch)
    assert rows[0].item_id == "more/x"


def test_an_archive_that_may_still_be_written_is_not_remembered(archives, monkeypatch):
    monkeypatch.setattr(known_contents, "RACY_NS", 10**12)
    of_archives(archives, monkeypatch)
    assert len(of_archives(archives, monkeypatch)[1]) == 3
