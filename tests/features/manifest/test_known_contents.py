"""A manifest that is made again reads the files that have changed, and no others."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from icebox.features import fingerprint
from icebox.features.datasets import image_folder
from icebox.features.manifest import known_contents
from icebox.features.manifest.build import build
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
