"""Copies of objects on this machine: bounded, least recently used first, and none that is in use."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from icebox.features.buckets import local_cache
from icebox.features.buckets.local_cache import LocalCache
from icebox.features.errors import IceboxError


@pytest.fixture
def cache(tmp_path, monkeypatch) -> LocalCache:
    monkeypatch.setenv(local_cache.BYTES_VARIABLE, "1000")
    return LocalCache(tmp_path / "buckets")


def add(cache: LocalCache, name: str, *, size: int = 100, age_s: float = 0, pin: bool = False) -> Path:
    path = cache.file(name, size, lambda to: to.write_bytes(bytes(size)), pin=pin)
    if age_s:
        os.utime(path, (time.time() - age_s,) * 2)
    return path


def names(cache: LocalCache) -> list[str]:
    return sorted(path.relative_to(cache.folder).as_posix() for path in cache.folder.rglob("*") if path.name[0] == "x")


def test_the_least_recently_used_go_first_and_the_size_stays_within_the_limit(cache):
    for number in range(20):
        add(cache, f"objects/x{number:02}", age_s=1000 - number)
        if number == 9:
            add(cache, "objects/x00")  # is used again
    kept = names(cache)
    assert 100 * len(kept) <= 1000
    assert "objects/x00" in kept
    assert "objects/x19" in kept
    assert "objects/x01" not in kept


def test_a_copy_of_another_size_is_made_anew_and_one_of_the_same_is_not(cache):
    path = add(cache, "objects/x")
    path.chmod(0o644)
    path.write_bytes(b"torn")
    made = []
    cache.file("objects/x", 100, lambda to: made.append(to.write_bytes(bytes(100))))
    assert cache.file("objects/x", 100, lambda to: pytest.fail("made again")).stat().st_size == 100
    assert made == [100]
    assert cache.read("objects/x", 100, lambda: pytest.fail("made again")) == bytes(100)


def test_a_copy_that_is_pinned_stays(cache):
    add(cache, "objects/x-pinned", age_s=9999, pin=True)
    for number in range(20):
        add(cache, f"objects/x{number}", age_s=100 - number)
    assert "objects/x-pinned" in names(cache)


def test_what_a_store_links_stays_and_costs_nothing(cache, tmp_path):
    linked = add(cache, "objects/x-linked", size=5000, age_s=9999)
    os.link(linked, tmp_path / "store")
    add(cache, "objects/x-other", age_s=9000)
    cache.clear()
    assert names(cache) == ["objects/x-linked", "objects/x-other"]


LEASE = """
import sys
from pathlib import Path
from icebox.features.buckets.local_cache import LocalCache
cache = LocalCache(Path(sys.argv[1]))
cache.lease()
print("leased", flush=True)
sys.stdin.read()
"""


def test_shards_that_a_process_uses_stay_until_it_ends(cache):
    old = add(cache, "shards/f/x-old", age_s=9999)
    other = subprocess.Popen(
        [sys.executable, "-c", LEASE, str(cache.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "leased\n"
    used = add(cache, "shards/f/x-used", size=5000)
    os.utime(used, (time.time() + 1,) * 2)
    cache.clear()
    assert not old.exists()
    assert used.exists()
    other.communicate("")
    cache.clear()
    assert not used.exists()
    assert list((cache.folder / "leases").iterdir()) == []


WRITE = """
import sys
from pathlib import Path
from icebox.features.buckets.local_cache import LocalCache
cache = LocalCache(Path(sys.argv[1]))
for number in range(150):
    name = f"objects/x{number % 40}"
    path = cache.file(name, 100, lambda to: to.write_bytes(bytes(100)), pin=number % 7 == 0)
    assert cache.read(name, 100, lambda: bytes(100)) == bytes(100)
"""


def test_processes_share_a_cache_that_is_too_small(cache):
    running = [subprocess.Popen([sys.executable, "-c", WRITE, str(cache.folder)]) for _ in range(3)]
    assert [each.wait() for each in running] == [0, 0, 0]
    cache.clear()
    assert 100 * len(names(cache)) <= 1000


def test_a_copy_larger_than_the_limit_is_there_while_it_is_needed(cache):
    assert add(cache, "objects/x", size=5000, pin=True).stat().st_size == 5000


@pytest.mark.parametrize(
    ("text", "size"), [("1000", 1000), ("2K", 2048), ("3 MB", 3 << 20), ("20g", 20 << 30), ("1T", 1 << 40)]
)
def test_the_limit_is_bytes_or_a_unit(monkeypatch, text, size):
    monkeypatch.setenv(local_cache.BYTES_VARIABLE, text)
    assert local_cache.limit_bytes() == size


@pytest.mark.parametrize("text", ["lots", "-1", "1.5G", "10X"])
def test_another_limit_is_one_line(monkeypatch, text):
    monkeypatch.setenv(local_cache.BYTES_VARIABLE, text)
    with pytest.raises(IceboxError, match=f"ICEBOX_CACHE_BYTES: expected bytes, as 20000000000 or 20G, found '{text}'"):
        local_cache.limit_bytes()


def test_the_cache_lies_in_the_project_or_with_the_user(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert local_cache.local_cache().folder.is_relative_to(os.environ["XDG_CACHE_HOME"])
    (tmp_path / ".icebox").mkdir()
    assert local_cache.local_cache().folder == tmp_path / ".icebox/buckets"
