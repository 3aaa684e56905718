"""A manifest that is made again reads the files that have changed, and no others."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icebox.features import fingerprint
from icebox.features.abc.dataset import Dataset, Item
from icebox.features.datasets import image_folder
from icebox.features.manifest import known_contents
from icebox.features.manifest.build import CHECKED, build
from icebox.features.manifest.known_contents import FileStates, KnownContents
from tests.features.images.test_bit_depth import encoded, ramp

OLD_S = 1_600_000_000


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Eight pictures of two classes; their inodes count as old at once."""
    monkeypatch.setattr(known_contents, "RACY_NS", -(10**12))
    for i in range(8):
        write(tmp_path / "raw" / "ab"[i % 2] / f"{i}.png", f"picture {i}")
    return tmp_path / "raw"


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def made(folder: Path, identity: str = "x") -> tuple[list[str], list[str], list[str]]:
    """(keys, the files that were read, the remarks) of a manifest that is made with the record."""
    source, read = image_folder.Source(path=folder), []

    def counted(name: str):
        read.append(name)
        return image_folder.Source.read(source, name)

    source.read = counted
    known = KnownContents(folder.parent / ".icebox/known.parquet", identity)
    rows = build(source, val=0.2, test=0.2, seed=0, known=known)
    assert list(rows) == list(build(image_folder.Source(path=folder), val=0.2, test=0.2, seed=0))
    return [row.item_key for row in rows], read, [remark.sentence() for remark in source.account.remarks()]


def test_only_what_is_new_is_read(folder):
    first, read, _ = made(folder)
    assert len(read) == 8
    assert made(folder)[:2] == (first, [])
    write(folder / "a/new.png", "new")
    write(folder / "b/1.png", "picture one")
    (folder / "a/0.png").unlink()
    keys, read, _ = made(folder)
    assert read == ["a/new.png", "b/1.png"]
    assert fingerprint.of_content(b"picture one") in keys
    assert made(folder)[1] == []


def test_a_change_that_keeps_size_and_time_is_seen(folder):
    path = folder / "a/0.png"
    os.utime(path, (OLD_S, OLD_S))
    made(folder)
    time.sleep(0.02)
    write(path, "PICTURE 0")
    os.utime(path, (OLD_S, OLD_S))
    assert made(folder)[1] == ["a/0.png"]
    other = folder.parent / "other"
    write(other, "picture X")
    os.utime(other, (OLD_S, OLD_S))
    other.replace(path)
    assert made(folder)[1] == ["a/0.png"]


def test_what_was_written_a_moment_ago_is_read_again(folder, monkeypatch):
    monkeypatch.setattr(known_contents, "RACY_NS", 2 * 10**9)
    made(folder)
    assert len(made(folder)[1]) == 8


def test_other_code_or_settings_read_everything(folder):
    made(folder)
    assert len(made(folder, "other code")[1]) == 8


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more", b"nothing of the kind"])
def test_a_damaged_record_costs_a_reading(folder, content):
    made(folder)
    (folder.parent / ".icebox/known.parquet").write_bytes(content)
    assert len(made(folder)[1]) == 8
    assert made(folder)[1] == []


def test_pictures_of_16_bits_are_told_again_without_being_read(folder):
    for i in range(3):
        write(folder / f"a/deep{i}.png", encoded(ramp(11 + i % 2) + i, "PNG"))
    _, read, remarks = made(folder)
    assert len(read) == 8 + 3 + 3  # those that are looked at are read once more
    assert made(folder)[1:] == ([], remarks)
    assert any("16-bit pictures" in remark for remark in remarks)


def test_files_that_are_not_there_have_no_state():
    states = FileStates.of(["a", "b\0"], Path)
    assert not states.certain.any()
    assert np.array_equal(states.values[0], known_contents.ABSENT)
    assert not FileStates.of([], Path).certain.any()


class Numbers(Dataset):
    """The first `count` texts of a seed; `read_numbers` are those that were read."""

    modality = "text"

    def __init__(self, count: int, seed: int = 0) -> None:
        self.count, self.seed, self.read_numbers = count, seed, []

    def items(self) -> Iterator[Item]:
        for i in range(self.count):
            yield Item(item_id=f"{i}", source=f"{i}", label="ab"[i % 2])

    def read(self, source: str) -> str:
        self.read_numbers.append(int(source))
        return "" if source == "7" else f"text {source} of {self.seed}"

    def content_settings(self) -> dict[str, int]:
        return {"seed": self.seed}


def numbers_read(record: Path, source: Numbers) -> list[int]:
    """The numbers that are read when a manifest is made, but for those that are read to compare; it is as one without
    the record."""
    known = KnownContents(record, fingerprint.of_settings(dict(source.content_settings())))
    rows = build(source, val=0.2, test=0.2, seed=0, known=known)
    other = type(source)(source.count, source.seed)
    assert list(rows) == list(build(other, val=0.2, test=0.2, seed=0))
    assert [remark.as_json() for remark in source.account.remarks() if remark.kind != "changed_contents"] == [
        remark.as_json() for remark in other.account.remarks()
    ]
    return source.read_numbers


def test_contents_that_references_determine_are_read_once(tmp_path):
    record = tmp_path / "known.parquet"
    assert numbers_read(record, Numbers(20)) == [*range(20)]
    again = numbers_read(record, Numbers(25))
    assert {7, *range(20, 25)} <= set(again)  # what there was a doubt about is doubted again
    assert len(again) == 5 + 1 + CHECKED
    assert len(numbers_read(record, Numbers(25))) == 1 + CHECKED
    assert len(numbers_read(record, Numbers(10))) == 1 + CHECKED
    assert len(numbers_read(record, Numbers(25))) >= 15  # a record is of the last manifest
    assert numbers_read(record, Numbers(25, seed=1)) == [*range(25)]


def test_a_content_that_was_said_never_to_change_and_did_is_told_and_all_are_read(tmp_path):
    class Changed(Numbers):
        def read(self, source: str) -> str:
            return f"{super().read(source)} other"

    record = tmp_path / "known.parquet"
    numbers_read(record, Numbers(20))
    source = Changed(20)
    assert set(numbers_read(record, source)) == {*range(20)}
    assert "changed_contents" in [remark.kind for remark in source.account.remarks()]
    source = Changed(20)
    assert len(numbers_read(record, source)) == CHECKED
    assert not source.account.remarks()


@given(st.lists(st.text("ab", max_size=2), unique=True), st.lists(st.text("abc", max_size=2), unique=True))
@settings(deadline=None)
def test_places_of_references(names, sources):
    columns = [pa.array(each, pa.large_string()) for each in (sources, names)]
    places = known_contents.places_of(*columns)
    assert places.tolist() == [names.index(source) if source in names else -1 for source in sources]
    assert known_contents.places_of(columns[1], columns[1]).tolist() == [*range(len(names))]
