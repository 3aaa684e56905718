"""Objects of a folder that is read in order are fetched before they are asked for; of another, only those asked for."""

import time

import pytest

from icebox.features.buckets import bucket, read_ahead
from icebox.features.buckets.path import place
from icebox.features.buckets.retries import BucketError

NAMES = [f"{number:03}" for number in range(60)]


@pytest.fixture
def folder(monkeypatch):
    """A folder in memory, and the names that were fetched."""
    import fsspec

    fs = fsspec.filesystem("memory")
    for name in NAMES:
        fs.pipe_file(f"/ahead/d/{name}", name.encode())
    fetched: list[str] = []
    read = bucket.read

    def noted(entry: bucket.Entry) -> bytes:
        fetched.append(entry.url.rpartition("/")[2])
        return read(entry)

    monkeypatch.setattr(bucket, "read", noted)
    read_ahead.in_process.cache_clear()
    yield fetched, noted
    fs.rm("/ahead", recursive=True)


@pytest.fixture
def root(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".icebox").mkdir()
    root = place("memory://ahead/d")
    assert len(list(root.walk())) == 1
    return root


def settled(fetched: list[str], count: int) -> list[str]:
    for _ in range(200):
        if len(fetched) >= count:
            break
        time.sleep(0.01)
    return fetched


def test_a_folder_that_is_read_in_order_is_fetched_ahead_and_each_object_once(root, folder):
    assert (root / NAMES[0]).read_bytes() == b"000"
    assert len(settled(folder[0], 1 + read_ahead.AHEAD)) == 1 + read_ahead.AHEAD
    assert [(root / name).read_bytes() for name in NAMES] == [name.encode() for name in NAMES]
    assert sorted(folder[0]) == NAMES


def test_single_objects_here_and_there_bring_no_others(root, folder):
    for name in ("059", "010", "055"):
        assert (root / name).read_bytes() == name.encode()
    time.sleep(0.05)
    assert folder[0] == ["059", "010", "055"]


def test_an_object_that_could_not_be_fetched_ahead_is_an_error_when_it_is_asked_for(root, folder, monkeypatch):
    def fails(entry: bucket.Entry) -> bytes:
        if entry.url.endswith("/005"):
            raise BucketError(f"{entry.url}: can't be read")
        return folder[1](entry)

    monkeypatch.setattr(bucket, "read", fails)
    for name in NAMES[:5]:
        (root / name).read_bytes()
    with pytest.raises(BucketError, match="005: can't be read"):
        (root / "005").read_bytes()
    assert (root / "006").read_bytes() == b"006"
