"""One shard cache for several stores, projects and users."""

import errno
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from icebox.features.errors import IceboxError
from icebox.features.store import shards
from icebox.features.store.feature_store import FeatureStore
from icebox.features.store.shard_cache.adoption import adopt
from icebox.features.store.shard_cache.cache import ShardCache
from icebox.features.store.shard_cache.compaction import compact
from icebox.features.store.shard_cache.pruning import prune
from tests.features.store.test_verification import flip
from tests.tiny import extract_doubled

OTHER_USER = 54321
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="takes the place of two users")


def run(lab: Path, project: str, items: str = "012345") -> list[str]:
    """What passes the backbone in a project that shares the lab's cache."""
    return extract_doubled(items, store=lab / project / "store", cache=lab / "shards")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def cached(lab: Path) -> list[Path]:
    return sorted(lab.glob("shards/*/shard-*.h5"))


def test_the_second_project_passes_nothing_and_has_the_same_bytes(tmp_path):
    assert len(run(tmp_path, "one")) == 6
    assert run(tmp_path, "two") == []
    assert contents(tmp_path / "one/store") == contents(tmp_path / "two/store")


def test_without_hard_links_shards_are_copied_and_compared_with_their_names(tmp_path, monkeypatch):
    def link(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", link)
    assert len(run(tmp_path, "one")) == 6
    assert run(tmp_path, "two") == []
    assert contents(tmp_path / "one/store") == contents(tmp_path / "two/store")
    for path in shards.paths(tmp_path / "two/store"):
        assert path.stat().st_nlink == 1
        assert stat.S_IMODE(path.stat().st_mode) & 0o222 == 0


def test_a_copy_that_went_wrong_is_no_part_of_a_store(tmp_path, monkeypatch):
    def bad_copy(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:-1] + b"?")

    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(errno.EXDEV, "")))
    monkeypatch.setattr(shutil, "copyfile", bad_copy)
    with pytest.raises(IceboxError, match=r"shard-.*its bytes have changed"):
        run(tmp_path, "one")
    assert not shards.paths(tmp_path / "one/store")


def test_compaction_leaves_a_shared_cache_what_others_may_need(tmp_path):
    run(tmp_path, "one")
    run(tmp_path, "one", "01234")
    before = cached(tmp_path)
    done = compact(tmp_path / "one/store", tmp_path / "shards", shared_cache=True)
    assert done.rows_dropped == 1
    assert set(before) < set(cached(tmp_path))
    assert run(tmp_path, "two") == []


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o444), (0o002, 0o444), (0o027, 0o440), (0o077, 0o400)])
def test_the_umask_says_who_may_read_shards(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        run(tmp_path, "one")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in cached(tmp_path)} == {mode}


def test_folders_of_a_shared_cache_can_be_written_to_by_those_who_may_write_to_the_cache(tmp_path):
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards").chmod(0o2775)
    before = os.umask(0o077)
    try:
        run(tmp_path, "one")
    finally:
        os.umask(before)
    [folder] = (tmp_path / "shards").iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o2775


@pytest.fixture
def lab() -> Iterator[Path]:
    """A folder that two users may write to."""
    folder = Path(tempfile.mkdtemp())
    for each in (folder, folder / "shards", folder / "one", folder / "two"):
        each.mkdir(exist_ok=True)
        each.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def as_other_user(work: Callable[[], object]) -> str:
    """Run in a child that is another user → "done", or the error that it ended with."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        answer = "died"
        try:
            os.setgid(OTHER_USER)
            os.setuid(OTHER_USER)
            os.environ["XDG_CACHE_HOME"] = "/nonexistent"
            work()
            answer = "done"
        except BaseException as error:  # noqa: BLE001 it must end here, whatever it is: this is a fork of the tests
            answer = f"{type(error).__name__}: {error}"
        finally:
            os.write(writer, answer.encode())
            os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with os.fdopen(reader) as stream:
        return stream.read()


@needs_root
@pytest.mark.parametrize("sticky", [False, True])
def test_shards_that_another_user_may_not_read_stay_and_are_extracted_beside(lab, sticky):
    if sticky:
        (lab / "shards").chmod(0o1777)
    run(lab, "one")
    before = {path: path.stat().st_ino for path in cached(lab)}
    for path in before:
        path.chmod(0)
    assert as_other_user(lambda: run(lab, "two")) == "done"
    assert contents(lab / "one/store").keys() == contents(lab / "two/store").keys()
    assert len(FeatureStore(lab / "two/store").load()) == 6
    assert {path: path.stat().st_ino for path in before} == before
    again = [f"shards/{path.parent.name}/user-{OTHER_USER}/{path.name}" for path in sorted(before)]
    assert sorted(str(path.relative_to(lab)) for path in lab.rglob(f"user-{OTHER_USER}/shard-*")) == again
    assert as_other_user(lambda: run(lab, "two") and pytest.fail("passed again")) == "done"


@needs_root
def test_two_users_share_what_both_may_read(lab):
    run(lab, "one")
    assert as_other_user(lambda: run(lab, "two") and pytest.fail("passed again")) == "done"
    assert as_other_user(lambda: run(lab, "two", "0123456") == ["6"] or pytest.fail("passed others")) == "done"
    assert run(lab, "one", "0123456") == []


@needs_root
def test_a_store_that_cannot_be_looked_into_is_one_line_that_names_it(lab):
    run(lab, "one")
    (lab / "one/store").chmod(0o700)
    answer = as_other_user(lambda: FeatureStore(lab / "one/store"))
    assert answer.startswith(
        f"IceboxError: {lab / 'one/store/index.h5'}: Permission denied; make it accessible for you"
    )
    answer = as_other_user(lambda: adopt(lab / "one/store", lab / "shards"))
    assert answer.startswith(f"IceboxError: {lab / 'one/store'}: Permission denied")
    answer = as_other_user(lambda: prune(lab / "shards", [lab / "one/store"]))
    assert answer.startswith(f"IceboxError: {lab / 'one/store/index.h5'}: Permission denied")
    assert len(cached(lab)) == 2


@needs_root
def test_pruning_keeps_what_it_may_not_read(lab, caplog):
    run(lab, "one")
    for path in cached(lab):
        path.chmod(0)
    assert as_other_user(lambda: prune(lab / "shards", []) and pytest.fail("removed")) == "done"
    assert len(cached(lab)) == 2


def test_a_shard_of_another_fingerprint_in_the_folder_is_not_used_and_stays(tmp_path, caplog):
    run(tmp_path, "one")
    folder = cached(tmp_path)[0].parent
    strange = ShardCache(tmp_path / "shards", "f" * 64)
    strange.folder.mkdir()
    shutil.copy(cached(tmp_path)[0], strange.folder)
    with caplog.at_level(logging.WARNING):
        assert strange.places() == {}
    assert f"expected a shard of fingerprint {'f' * 64}, found {folder.name}" in caplog.text
    assert len(list(strange.folder.glob("shard-*.h5"))) == 1


def test_a_shard_that_is_pruned_while_the_cache_is_read_is_extracted_again(tmp_path, monkeypatch):
    run(tmp_path, "one")
    victim = cached(tmp_path)[0]
    read, vanished = ShardCache._read_if_whole, []

    def vanishing(self: ShardCache, path: Path) -> shards.Shard | None:
        if path == victim and not vanished:
            victim.unlink()
            vanished.append(victim)
        return read(self, path)

    shutil.rmtree(tmp_path / "one/store")
    monkeypatch.setattr(ShardCache, "_read_if_whole", vanishing)
    assert len(run(tmp_path, "one")) == 3


def test_a_shard_that_vanishes_before_it_is_linked_is_one_line_and_the_next_run_is_right(tmp_path, monkeypatch):
    run(tmp_path, "one")
    shutil.rmtree(tmp_path / "one/store")
    victim, link_into = cached(tmp_path)[0], ShardCache.link_into

    def vanishing(self: ShardCache, *arguments: object) -> None:
        victim.unlink()
        link_into(self, *arguments)

    monkeypatch.setattr(ShardCache, "link_into", vanishing)
    with pytest.raises(IceboxError, match=rf"{victim.name}: was here a moment ago, and now No such.*run this again"):
        run(tmp_path, "one")
    monkeypatch.undo()
    assert len(run(tmp_path, "one")) == 3
    assert len(FeatureStore(tmp_path / "one/store").load()) == 6


def test_a_damaged_shard_that_can_not_be_renamed_is_told_and_worked_around(tmp_path, monkeypatch, caplog):
    run(tmp_path, "one")
    flip(cached(tmp_path)[0], 3000)
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(PermissionError(errno.EPERM, "no")))
    assert len(run(tmp_path, "one")) == 3
    assert "its bytes have changed" in caplog.text
