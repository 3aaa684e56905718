"""A shard cache in a bucket: machines find what others have made, and damage there costs only the lost rows."""

import logging
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from icebox.features.buckets import bucket, local_cache
from icebox.features.buckets.path import place
from icebox.features.engines.processes import Processes
from icebox.features.errors import IceboxError
from icebox.features.extraction.extract import extract
from icebox.features.extraction.shard_work import Engine, Local
from icebox.features.store import shards
from icebox.features.store.feature_store import FeatureStore
from icebox.features.store.shard_cache import remote_shards
from icebox.features.store.shard_cache.cache import ShardCache
from icebox.features.store.shard_cache.compaction import compact
from icebox.features.store.shard_cache.pruning import prune, prune_bucket
from tests.features.engines.counting import Tiny
from tests.tiny import Doubling, extract_doubled, rows

URL = "s3://lab/cache/shards"


@pytest.fixture
def machine(s3, tmp_path, monkeypatch):
    """Another machine: a working folder with nothing of the others'."""

    def there(name: str) -> Path:
        folder = tmp_path / name
        (folder / ".icebox").mkdir(parents=True, exist_ok=True)
        monkeypatch.chdir(folder)
        return folder

    return there


def run(items: str = "012345", store: str = "store") -> list[str]:
    return extract_doubled(items, store=Path(store), cache=place(URL))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def on_disk(tmp_path: Path, items: str = "012345") -> dict[str, bytes]:
    """The store that the same run without any bucket gives."""
    extract_doubled(items, store=tmp_path / "plain/store", cache=tmp_path / "plain/shards")
    return contents(tmp_path / "plain/store")


def remote(s3) -> dict[str, bytes]:
    return {key.split("/", 3)[3]: content for key, content in s3.objects("cache/shards").items()}


def test_another_machine_passes_nothing_and_has_the_same_bytes(s3, machine, tmp_path):
    one = machine("one")
    assert len(run()) == 6
    names = [path.name for path in shards.paths(one / "store")]
    assert sorted(remote(s3)) == names
    two = machine("two")
    assert run() == []
    assert contents(one / "store") == contents(two / "store") == on_disk(tmp_path)
    assert not list((two / ".icebox/shards").glob("*/shard-*"))


def test_a_whole_shard_is_fetched_only_for_wanted_rows(s3, machine):
    machine("one")
    run()
    machine("two")
    s3.faults.requests.clear()
    assert run("012") == []
    whole = [path for method, path, _ in s3.faults.requests if method == "GET" and "shard-" in path]
    assert len(whole) == 3  # the keys of both, and one of them


def test_a_second_run_asks_only_for_listings(s3, machine):
    machine("one")
    run()
    machine("two")
    run()
    shutil.rmtree("store")
    s3.faults.requests.clear()
    assert run() == []
    assert not [path for method, path, _ in s3.faults.requests if "shard-" in path]


def test_faults_change_nothing(s3, machine, tmp_path):
    s3.faults.share = 0.4
    machine("one")
    assert len(run()) == 6
    two = machine("two")
    assert run("0123456789") == ["6", "7", "8", "9"]
    three = machine("three")
    assert run("0123456789") == []
    assert contents(two / "store") == contents(three / "store")
    assert s3.faults.made.total() > 3
    one = machine("four")
    assert run() == []
    assert contents(one / "store") == on_disk(tmp_path)


def damage(s3, name: str, content: bytes) -> None:
    [key] = [key for key in s3.objects("cache") if key.endswith(name)]
    s3.fs.pipe_file(f"lab/{key}", content)


@pytest.mark.parametrize("kind", ["truncated", "empty", "header", "keys", "values", "text"])
def test_a_damaged_object_is_passed_over_and_stays(s3, machine, kind, caplog, tmp_path):
    machine("one")
    run()
    name, whole = next(iter(remote(s3).items()))
    keys = bytes.fromhex(shards.read(Path("store", name)).item_keys[0])
    at = {"header": 20, "keys": whole.index(keys) + 3, "values": len(whole) - 1}.get(kind, 0)
    bad = {"truncated": whole[: len(whole) // 2], "empty": b"", "text": b"<html>no</html>"}.get(
        kind, whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :]
    )
    damage(s3, name, bad)
    two = machine("two")
    with caplog.at_level(logging.WARNING):
        passed = run()
    assert len(passed) == 3
    assert f"{name}: its bytes are not those of its name" in caplog.text
    assert contents(two / "store") == on_disk(tmp_path)
    assert remote(s3)[name] == bad
    assert remote(s3)[f"repaired/{name}"] == whole
    three = machine("three")
    assert run() == []
    assert contents(three / "store") == on_disk(tmp_path)


def test_shards_of_a_bucket_that_refuses_stay_here_and_are_put_by_the_next_run(s3, machine, monkeypatch, caplog):
    machine("one")
    s3.faults.kinds, s3.faults.share = ("error",), 1.0
    s3.faults.only = lambda method, path: method == "PUT"
    with pytest.raises(IceboxError, match=r"s3://lab/cache/shards/.*can't be written.*7 attempts failed"):
        run()
    assert len(FeatureStore(Path("store"))) == 6
    assert "stays on this machine, and is put there at the end" in caplog.text
    assert remote(s3) == {}
    s3.faults.share = 0.0
    assert run() == []
    assert len(remote(s3)) == 2


def test_a_bucket_that_cannot_be_read_ends_the_run_before_anything_is_passed(s3, machine):
    machine("one")
    s3.faults.kinds, s3.faults.share = ("slow_down",), 1.0
    with pytest.raises(IceboxError, match=r"s3://lab/cache/shards/.*attempts failed"):
        run()


def test_shards_that_were_made_before_the_cache_was_shared_are_put(s3, machine):
    machine("one")
    extract_doubled("012345", store=Path("store"), cache=Path(".icebox/shards"))
    assert run() == []
    assert len(remote(s3)) == 2
    shutil.rmtree(".icebox/shards")
    s3.fs.rm("lab/cache", recursive=True)
    assert run() == []  # taken over from the store
    assert len(remote(s3)) == 2


def test_a_damaged_shard_of_this_machine_is_never_put(s3, machine, caplog):
    machine("one")
    extract_doubled("012345", store=Path("store"), cache=Path(".icebox/shards"))
    first = next(Path(".icebox/shards").glob("*/shard-*.h5"))
    first.chmod(0o644)
    first.write_bytes(first.read_bytes()[:-1] + b"?")
    shutil.rmtree("store")
    assert len(run()) == 3
    assert all(shards.name_of_bytes(content) == name for name, content in remote(s3).items())


def test_a_cache_too_small_for_the_store_still_gives_it(s3, machine, monkeypatch):
    monkeypatch.setenv(local_cache.BYTES_VARIABLE, "1000")
    machine("one")
    run("0123456789")
    two = machine("two")
    assert run("0123456789") == []
    assert len(FeatureStore(two / "store").load()) == 10
    shutil.rmtree("store")
    assert run("0123") == []


def test_a_copy_that_was_damaged_on_this_machine_is_fetched_anew(s3, machine, caplog):
    machine("one")
    run()
    machine("two")
    run()
    shutil.rmtree("store")
    copy = next(Path(".icebox/buckets/shards").glob("*/shard-*.h5"))
    copy.chmod(0o644)
    copy.write_bytes(copy.read_bytes()[:-1] + b"?")
    os.utime(copy)
    run()
    assert len(FeatureStore(Path("store")).load()) == 6
    shutil.rmtree("store")
    assert run() == []


def test_growth_from_several_machines_meets_in_the_bucket(s3, machine):
    for name, items in (("one", "0123"), ("two", "3456"), ("three", "6789")):
        machine(name)
        run(items)
    four = machine("four")
    assert run("0123456789") == []
    assert FeatureStore(four / "store").load()[:, 0].tolist() == list(range(10))


def test_parts_on_several_machines_meet_in_the_bucket(s3, machine, tmp_path):
    items = [str(number) for number in range(30)]

    def extracted(part: tuple[int, int] | None, cache: Path, store: str = "store") -> int:
        return extract(
            rows(*items), read=str, backbone=Doubling(), cache_root=cache, store=Path(store), shard_rows=3, part=part
        ).passed

    machine("plain")
    assert extracted(None, Path(".icebox/shards")) == 30
    s3.faults.share = 0.05
    passed = []
    for number in range(1, 4):
        machine(f"part{number}")
        passed.append(extracted((number, 3), place(URL)))
        assert not Path("store").exists()
    assert sum(passed) == 30
    last = machine("last")
    assert extracted(None, place(URL)) == 0
    assert contents(last / "store") == contents(tmp_path / "plain/store")


def test_several_processes_put_their_shards(s3, machine, tmp_path):
    items = [str(number) for number in range(12)]

    def run_in(engine: Engine, cache: Path) -> int:
        return extract(
            rows(*items),
            read=str,
            backbone=Doubling(),
            cache_root=cache,
            store=Path("store"),
            shard_rows=3,
            engine=engine,
        ).passed

    plain = machine("plain")
    run_in(Local(), Path(".icebox/shards"))
    one = machine("one")
    assert run_in(Processes(Tiny(tmp_path / "notes"), count=2), place(URL)) == 12
    assert contents(one / "store") == contents(plain / "store")
    machine("two")
    assert run_in(Local(), place(URL)) == 0


def test_pruning_leaves_the_bucket_unless_asked(s3, machine):
    machine("one")
    run("0123")
    run("45", store="other")
    assert len(remote(s3)) == 3
    assert len(prune(place(URL), [Path("store")])) == 1
    assert len(remote(s3)) == 3
    assert not [path for path in Path(".icebox/shards").glob("*/shard-*") if path.stat().st_nlink == 1]
    [freed] = prune_bucket(place(URL), [Path("store")])
    assert freed.shards == 1
    assert str(freed.folder).startswith(f"{URL}/")
    assert len(remote(s3)) == 2


def test_compaction_puts_what_it_writes_and_removes_nothing_there(s3, machine):
    machine("one")
    run()
    run("01234")
    compact(Path("store"), place(URL), shared_cache=True)
    assert len(remote(s3)) == 3
    assert len(FeatureStore(Path("store")).load()) == 5


def test_a_mark_of_compiled_networks_goes_with_the_shards(s3, machine):
    machine("one")
    run()
    [folder] = Path(".icebox/shards").iterdir()
    (folder / "compiled").write_text("x")
    run("0123456")
    assert "compiled" in remote(s3)
    two = machine("two")
    run("0")
    assert list(two.glob(".icebox/shards/*/compiled"))


def test_features_that_only_the_bucket_has_are_a_beginning(s3, machine):
    machine("one")
    run()
    fingerprint = next(Path(".icebox/shards").iterdir()).name
    machine("two")
    assert ShardCache(place(URL), fingerprint).begun()
    assert not ShardCache(place(URL), "0" * 64).begun()


def test_keys_are_read_in_few_requests(s3, machine, monkeypatch):
    machine("one")
    items = rows(*map(str, range(1024)))
    extract(items, read=lambda source: source, backbone=Doubling(), cache_root=place(URL), store=Path("store"))
    [name] = remote(s3)
    entry = ShardCache(place(URL), next(Path(".icebox/shards").iterdir()).name).remote.listed()[name][0]
    s3.faults.requests.clear()
    keys = remote_shards.item_keys(entry)
    assert keys.hex() == "".join(shards.read(Path("store", name)).item_keys)
    assert len(s3.faults.requests) <= 2


def test_no_request_is_made_while_h5py_holds_its_lock(tmp_path, monkeypatch):
    from h5py._objects import phil

    path = shards.write(
        tmp_path,
        store_fingerprint="f",
        item_keys=[f"{row:064x}" for row in range(5000)],
        features={"last": np.zeros((5000, 2), np.float32)},
        errors={},
    )
    content, free = path.read_bytes(), []

    def read_range(entry: bucket.Entry, start: int, stop: int) -> bytes:
        def take() -> None:
            with phil:
                free.append(start)

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        thread.join(5)
        return content[start:stop]

    monkeypatch.setattr(bucket, "read_range", read_range)
    keys = remote_shards.item_keys(bucket.Entry("memory://lab/x", len(content), "", 0))
    assert keys.hex() == "".join(f"{row:064x}" for row in range(5000))
    assert free[:2] == [0, 65536]
