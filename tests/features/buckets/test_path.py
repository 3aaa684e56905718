"""URLs as paths: what a folder on disk answers, a bucket answers too, and nothing leads out of it."""

import gzip
import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from icebox.features import files
from icebox.features.buckets import bucket, urls
from icebox.features.buckets.path import BucketPath, common_folder, place, walk
from icebox.features.errors import IceboxError


@pytest.fixture
def both(s3, tmp_path) -> tuple[Path, Path]:
    """The same files on disk and in the bucket."""
    folder = tmp_path / "d"
    for name in (
        "a.csv",
        "b/1.jpg",
        "b/2.JPG",
        "b/c/3.jpg",
        ".hidden/x",
        "e e/ü.png",
        "part-0.parquet",
        "part-1.parquet",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    s3.put(folder, "d")
    return folder, place("s3://lab/d")


def relative(paths, root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in paths)


def test_a_bucket_answers_as_a_folder_does(both):
    local, remote = both
    for name in ("a.csv", "b", "b/c", "b/c/3.jpg", "none", "b/none", ".", "e e/ü.png"):
        for question in ("exists", "is_file", "is_dir"):
            assert getattr(local / name, question)() == getattr(remote / name, question)(), (name, question)
    for pattern in ("*", "*.csv", "part-?.parquet", "part-[01].parquet", "**/*.jpg", "b/*", "*/c/*"):
        assert relative(local.glob(pattern), local) == relative(remote.glob(pattern), remote), pattern
    assert relative(local.rglob("*.jpg"), local) == relative(remote.rglob("*.jpg"), remote)
    assert relative(local.iterdir(), local) == relative(remote.iterdir(), remote)
    walked = [
        sorted(
            (folder.relative_to(root).as_posix(), sorted(folders), sorted(names))
            for folder, folders, names in walk(root)
        )
        for root in both
    ]
    assert walked[0] == walked[1]
    assert files.read_contained(local, "b/1.jpg") == files.read_contained(remote, "b/1.jpg") == b"b/1.jpg"
    assert (remote / "a.csv").stat().st_size == 5


def test_libraries_that_take_paths_read_a_copy(s3, tmp_path):
    np.save(tmp_path / "x.npy", np.arange(5))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = [1, 2]
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"text"))
    for name in ("x.npy", "x.h5", "x.gz"):
        s3.fs.pipe_file(f"lab/{name}", (tmp_path / name).read_bytes())
    root = place("s3://lab")
    assert np.load(root / "x.npy").tolist() == [0, 1, 2, 3, 4]
    with h5py.File(root / "x.h5") as file:
        assert file["x"][:].tolist() == [1, 2]
    with gzip.open(root / "x.gz") as stream:
        assert stream.read() == b"text"
    with (root / "x.gz").open("rb") as stream:
        assert stream.read(2) == b"\x1f\x8b"


def test_an_object_is_fetched_once(s3):
    s3.fs.pipe_file("lab/d/a.csv", b"a.csv")
    for _ in range(3):
        assert (place("s3://lab/d") / "a.csv").read_bytes() == b"a.csv"
    assert s3.faults.asked("GET", "/lab/d/a.csv") == 1


def test_many_questions_in_one_folder_are_one_listing(s3):
    for number in range(40):
        s3.fs.pipe_file(f"lab/d/{number}", b"x")
    s3.faults.requests.clear()
    root = place("s3://lab/d")
    assert all((root / str(number)).is_file() for number in range(40))
    assert len(s3.faults.requests) < 20


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "b/../../x", "s3://other/x", "a\0b"])
def test_names_that_lead_out_are_refused(both, name):
    _, remote = both
    with pytest.raises(IceboxError, match="leads out of it"):
        remote / name
    with pytest.raises(IceboxError):
        files.read_contained(remote, name)


def test_a_backslash_is_a_part_of_a_name(s3, tmp_path):
    s3.fs.pipe_file("lab/d/..\\..\\x", b"kept")
    assert (place("s3://lab/d") / "..\\..\\x").read_bytes() == b"kept"
    copies = [path for path in (Path.cwd() / ".icebox/buckets").rglob("*") if path.is_file() and path.name != "lock"]
    assert len(copies) == 1
    assert copies[0].parent.parent.name == "objects"


def test_what_is_missing_or_a_folder_is_told_as_of_a_disk(both):
    _, remote = both
    with pytest.raises(FileNotFoundError):
        (remote / "none").read_bytes()
    with pytest.raises(IsADirectoryError):
        os.fspath(remote / "b")


def test_paths_are_values(both):
    _, remote = both
    assert isinstance(pickle.loads(pickle.dumps(remote)), BucketPath)  # noqa: S301
    assert str(pickle.loads(pickle.dumps(remote / "b"))) == "s3://lab/d/b"  # noqa: S301
    assert str(remote.parent) == "s3://lab"
    assert str((remote / "b" / "1.jpg").relative_to(remote)) == "b/1.jpg"
    assert common_folder([remote / "b/c", remote / "b"]) == remote / "b"
    assert place("file:///data/x") == Path("/data/x")
    assert place(Path("x")) == Path("x")
    assert place("x/y") == Path("x/y")


def test_memory_is_a_bucket_too(s3):
    import fsspec

    fsspec.filesystem("memory").pipe_file("/lab/d/a.txt", b"here")
    root = place("memory://lab/d")
    assert [path.name for path in root.iterdir()] == ["a.txt"]
    assert (root / "a.txt").read_text() == "here"


@pytest.mark.parametrize(
    "url",
    [
        "s3://key:hunter22@lab/d", "s3://lab/d?token=hunter22", "https://me:hunter22@host/x",
        "s3://lab/d?X-Amz-Signature=hunter22&x=1", "abfs://lab/x?sig=hunter22",
    ],
)  # fmt: skip
def test_credentials_in_a_url_are_refused_and_not_shown(url):
    with pytest.raises(IceboxError, match="without credentials") as error:
        place(url)
    assert "hunter22" not in str(error.value)


def test_other_urls_are_refused():
    with pytest.raises(IceboxError, match=r"ftp://host/x: expected s3://, .* file:// or a path"):
        place("ftp://host/x")
    with pytest.raises(IceboxError, match="expected the name of a bucket"):
        place("s3://")
    assert str(place("abfs://container@account.dfs.core.windows.net/x")).endswith("net/x")
    assert str(place("s3://lab/part-?.parquet")) == "s3://lab/part-?.parquet"


def test_secrets_of_the_environment_are_not_shown(monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "abcdefghij")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "klmnopqrst")
    assert urls.redacted("x abcdefghij y klmnopqrst http://a:b@c/?sig=1") == "x … y … http://…@c/?…"


@pytest.mark.parametrize("keys", [("a", "a/b"), ("a/b", "a"), ("a/b/c", "a/b")])
def test_an_object_called_as_a_folder_is_told_and_an_empty_one_is_its_mark(s3, keys):
    for key in keys:
        s3.fs.call_s3("put_object", Bucket="lab", Key=f"d/{key}", Body=b"x")
    with pytest.raises(IceboxError, match="is an object, and the beginning of others' keys"):
        list(place("s3://lab/d").walk())
    with pytest.raises(IceboxError, match="is an object, and the beginning of others' keys"):
        list(place(f"s3://lab/d/{keys[-1]}".rpartition("/")[0] if "b/c" in keys[0] else "s3://lab/d").iterdir())
    shorter = min(keys, key=len)
    s3.fs.call_s3("put_object", Bucket="lab", Key=f"d/{shorter}", Body=b"")
    names = [
        (folder / name).relative_to(place("s3://lab/d")).as_posix()
        for folder, _, names in place("s3://lab/d").walk()
        for name in names
    ]
    assert names == [max(keys, key=len)]


def test_a_listing_that_failed_halfway_is_begun_anew(s3, monkeypatch):
    for number in range(9):
        s3.fs.pipe_file(f"lab/d/{number % 3}/{number}", b"x")
    monkeypatch.setattr(bucket, "PAGE_KEYS", 3)
    root = place("s3://lab/d")
    s3.faults.kinds = ("forbidden",)
    asked = []
    s3.faults.only = lambda method, path: asked.append(path) or len(asked) > 1
    s3.faults.share = 1.0
    with pytest.raises(IceboxError, match="refused"):
        list(root.walk())
    s3.faults.share = 0.0
    assert sum(len(names) for _, _, names in root.walk()) == 9
