"""Requests to buckets: listed in pages, read with checks, put once; what fails for a moment is tried again."""

import errno
import threading

import pytest

from icebox.features import files
from icebox.features.buckets import bucket, retries
from icebox.features.buckets.path import place
from icebox.features.buckets.retries import BucketError
from icebox.features.errors import IceboxError
from tests.s3 import SECRET


def entry(url: str) -> bucket.Entry:
    found = bucket.stat(url)
    assert found is not None
    return found


def test_listing_goes_through_all_pages(s3, monkeypatch):
    for number in range(12):
        s3.fs.pipe_file(f"lab/a/{number % 3}/{number:02}", bytes(number))
    monkeypatch.setattr(bucket, "PAGE_KEYS", 5)
    s3.faults.requests.clear()
    listed = sorted(bucket.list_objects("s3://lab/a"), key=lambda each: each.url)
    assert [(each.url, each.size_bytes) for each in listed][:2] == [("s3://lab/a/0/00", 0), ("s3://lab/a/0/03", 3)]
    assert len(listed) == 12
    assert s3.faults.asked("GET") == 3
    folders = sorted((each.url, each.size_bytes) for each in bucket.list_objects("s3://lab/a", deep=False))
    assert folders == [("s3://lab/a/0", -1), ("s3://lab/a/1", -1), ("s3://lab/a/2", -1)]


def test_a_listing_ends_at_the_limit_of_keys(s3, monkeypatch):
    for number in range(4):
        s3.fs.pipe_file(f"lab/a/{number}", b"x")
    monkeypatch.setenv(bucket.KEYS_VARIABLE, "3")
    with pytest.raises(IceboxError, match=r"s3://lab/a: holds more than the 3 keys .* raise ICEBOX_BUCKET_KEYS"):
        list(bucket.list_objects("s3://lab/a"))
    monkeypatch.setenv(bucket.KEYS_VARIABLE, "many")
    with pytest.raises(IceboxError, match=r"ICEBOX_BUCKET_KEYS: expected a whole number of keys, found 'many'"):
        list(bucket.list_objects("s3://lab/a"))


@pytest.mark.parametrize("kind", ["error", "slow_down", "cut", "short"])
def test_reads_are_whole_in_spite_of_faults(s3, kind):
    content = bytes(range(256)) * 40
    s3.fs.pipe_file("lab/a", content)
    s3.faults.kinds, s3.faults.share = (kind,), 0.5
    for _ in range(6):
        assert bucket.read(entry("s3://lab/a")) == content
        assert bucket.read_range(entry("s3://lab/a"), 100, 300) == content[100:300]
        assert [each.url for each in bucket.list_objects("s3://lab")] == ["s3://lab/a"]
    assert s3.faults.made[kind] > 2


def test_a_put_that_was_lost_is_put_again(s3):
    s3.faults.kinds, s3.faults.share = ("lost",), 0.5
    for number in range(8):
        bucket.put_if_absent(f"s3://lab/{number}", b"content")
    s3.faults.share = 0
    assert s3.objects() == {str(number): b"content" for number in range(8)}
    assert s3.faults.made["lost"] > 2


def test_a_put_leaves_what_is_there(s3):
    bucket.put_if_absent("s3://lab/a", b"first")
    assert bucket.put_if_absent("s3://lab/a", b"second").size_bytes == 5
    assert s3.objects() == {"a": b"first"}


def test_of_many_who_put_at_once_one_does(s3):
    threads = [threading.Thread(target=bucket.put_if_absent, args=("s3://lab/a", bytes(n))) for n in (10, 20, 30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(s3.objects()["a"]) in (10, 20, 30)


def test_what_always_fails_is_one_line_after_some_attempts(s3):
    s3.fs.pipe_file("lab/a", b"x")
    found = entry("s3://lab/a")
    s3.faults.kinds, s3.faults.share = ("error",), 1.0
    s3.faults.requests.clear()
    with pytest.raises(BucketError, match=r"s3://lab/a: can't be read: .*; 7 attempts failed; look at the network"):
        bucket.read(found)
    assert s3.faults.asked("GET") == retries.ATTEMPTS


def test_what_is_refused_or_missing_is_asked_for_once(s3, monkeypatch):
    s3.faults.requests.clear()
    assert bucket.stat("s3://lab/none") is None
    assert s3.faults.asked("HEAD") == 1
    with pytest.raises(BucketError, match="s3://nowhere/x: there is no bucket of this name"):
        list(bucket.list_objects("s3://nowhere/x"))

    calls = []

    def refuses() -> None:
        calls.append(1)
        raise PermissionError(errno.EACCES, f"Forbidden for http://me:{SECRET}@host, key {SECRET}")

    with pytest.raises(BucketError, match="refused: check the credentials") as error:
        retries.retried("s3://lab/a", "be read", refuses)
    assert len(calls) == 1
    assert SECRET not in str(error.value)


def test_an_object_that_was_replaced_after_it_was_listed_is_told(s3):
    s3.fs.pipe_file("lab/a", b"first")
    listed = entry("s3://lab/a")
    for other in (b"other", b"of another length"):
        s3.fs.pipe_file("lab/a", other)
        with pytest.raises(IceboxError, match="s3://lab/a: has changed since it was listed; run this again"):
            bucket.read(listed)


def test_an_etag_that_is_no_md5_does_not_hinder(s3):
    s3.fs.pipe_file("lab/a", b"first")
    found = entry("s3://lab/a")
    odd = bucket.Entry(found.url, found.size_bytes, "0" * 32, 0)
    original, bucket.changed = bucket.changed, lambda _: None
    try:
        assert bucket.read(odd) == b"first"
    finally:
        bucket.changed = original
    assert bucket.not_md5 == {"s3://lab"}


def test_large_objects_are_read_in_pieces(s3, monkeypatch, tmp_path):
    content = bytes(range(251)) * 100
    s3.fs.pipe_file("lab/a", content)
    monkeypatch.setattr(bucket, "IN_MEMORY_BYTES", 1000)
    monkeypatch.setattr(bucket, "PIECE_BYTES", 7000)
    s3.faults.share, s3.faults.kinds = 0.3, ("cut", "short", "error")
    bucket.download(entry("s3://lab/a"), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content


@pytest.mark.parametrize("key", ["a/../../x", "a//b", "a/./b", "../x"])
def test_keys_that_are_no_paths_are_refused(s3, key):
    s3.fs.call_s3("put_object", Bucket="lab", Key=f"d/{key}", Body=b"x")
    with pytest.raises(IceboxError, match=r"s3://lab/d: holds the key .* which can be no file's path"):
        list(bucket.list_objects("s3://lab/d"))


def test_folders_marks_of_consoles_are_no_objects(s3):
    s3.fs.call_s3("put_object", Bucket="lab", Key="d/", Body=b"")
    s3.fs.call_s3("put_object", Bucket="lab", Key="d/e/", Body=b"")
    s3.fs.pipe_file("lab/d/a", b"x")
    assert [each.url for each in bucket.list_objects("s3://lab/d")] == ["s3://lab/d/a"]


@pytest.mark.parametrize(
    ("reason", "passing"),
    [
        (TimeoutError(), True), (ConnectionResetError(), True), (OSError(errno.EIO, "x"), True),
        (FileNotFoundError(), False), (PermissionError(), False), (OSError(errno.ENOSPC, "x"), False),
        (ValueError("x"), False), (retries.Incomplete("x"), True), (MemoryError(), False),
    ],
)  # fmt: skip
def test_errors_that_pass_and_errors_that_last(reason, passing):
    assert retries.may_pass(reason) == passing


def test_errors_of_the_library_for_s3_pass_or_last():
    exceptions = pytest.importorskip("botocore.exceptions")
    url = {"endpoint_url": "http://127.0.0.1:1"}
    for passing in (
        exceptions.EndpointConnectionError(**url), exceptions.ReadTimeoutError(**url),
        exceptions.ConnectTimeoutError(**url), exceptions.ConnectionClosedError(**url),
        exceptions.ResponseStreamingError(error="broke off"),
    ):  # fmt: skip
        assert retries.may_pass(passing)
    for lasting in (
        exceptions.NoCredentialsError(), exceptions.ProfileNotFound(profile="x"),
        exceptions.ParamValidationError(report="x"), exceptions.InvalidRegionError(region_name="x"),
        exceptions.TokenRetrievalError(provider="sso", error_msg="expired"),
    ):  # fmt: skip
        assert not retries.may_pass(lasting)
    without = retries.explained("s3://lab/a", "be read", exceptions.NoCredentialsError())
    assert str(without).endswith("; give the library credentials, by its environment variables or configuration file")


def test_a_bucket_that_forbids_is_asked_once_and_says_so(s3):
    s3.fs.pipe_file("lab/a", b"x")
    found = entry("s3://lab/a")
    s3.faults.kinds, s3.faults.share = ("forbidden",), 1.0
    for ask in (
        lambda: bucket.read(found), lambda: bucket.stat("s3://lab/a"), lambda: list(bucket.list_objects("s3://lab")),
        lambda: bucket.put_if_absent("s3://lab/b", b"x"), lambda: bucket.delete("s3://lab/a"),
    ):  # fmt: skip
        s3.faults.requests.clear()
        with pytest.raises(BucketError, match=r"^s3://lab.*: can't .*refused: check the credentials"):
            ask()
        assert len(s3.faults.requests) == 1


def test_an_object_that_went_after_it_was_listed_is_missing(s3):
    s3.fs.pipe_file("lab/d/a", b"x")
    folder = place("s3://lab/d")
    assert (folder / "a").is_file()
    s3.fs.rm("lab/d/a")
    with pytest.raises(FileNotFoundError):
        bucket.read(bucket.Entry("s3://lab/d/a", 1, "", 0))
    with pytest.raises(IceboxError, match="s3://lab/d/a can't be read: No such file or directory"):
        files.read_contained(folder, "a")


@pytest.mark.parametrize(
    ("status", "passing"),
    [(500, True), (503, True), (429, True), (408, True), (400, False), (403, False), (404, False)],
)
def test_the_status_of_any_library_decides(status, passing):
    class Answer(Exception):
        code = status

    class Other(OSError):
        pass

    other = Other(errno.EIO, "x")
    other.__cause__ = type(
        "ClientError", (Exception,), {"response": {"ResponseMetadata": {"HTTPStatusCode": status}}}
    )()
    assert retries.may_pass(Answer()) == passing
    assert retries.may_pass(other) == passing


def test_a_package_that_is_missing_is_named_with_its_command(monkeypatch):
    monkeypatch.setattr(bucket.importlib.util, "find_spec", lambda name: None)
    bucket.opened.cache_clear()
    for scheme, command in (("s3", r"icebox\[s3\]"), ("gs", "gcsfs"), ("abfs", "adlfs")):
        with pytest.raises(IceboxError, match=f"{scheme}:// needs the library .*pip install {command}"):
            bucket.filesystem(f"{scheme}://x/y")
