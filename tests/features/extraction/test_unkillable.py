"""Kills, full and read-only disks, damage: each is a clear error, and the next run ends at the same bytes."""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icebox.features.errors import IceboxError
from icebox.features.extraction.extract import extract
from icebox.features.store.feature_store import FeatureStore
from tests.tiny import Doubling, rows

KILLS = 20  # of each of three kinds of work
CONTENTS = [str(number) for number in range(40)]
FEWER = [number for number in CONTENTS if int(number) % 3]  # leaves one unneeded row in most shards
TEN, SIX = CONTENTS[:10], [number for number in FEWER if int(number) < 10]


class Server:
    """Runs tasks in killable children; see unkillable_child.py."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.features.extraction.unkillable_child", str(folder / "errors.txt")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, what: str, root: Path, contents=CONTENTS, **options: Any) -> dict[str, Any]:
        task = {"what": what, "root": str(root), "contents": contents, **options}
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def must(self, what: str, root: Path, contents=CONTENTS, **options: Any) -> float:
        """Run to the end and return how long it took, in seconds."""
        done = self.run(what, root, contents, **options)
        assert done["status"] == 0, done["error"]
        return done["took_s"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    started = Server(tmp_path_factory.mktemp("server"))
    yield started
    started.process.stdin.close()
    started.process.wait()
    started.process.stdout.close()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def numbers(store: Path) -> list[str]:
    return [f"{value:g}" for value in FeatureStore(store).load(output="last")[:, 0]]


def greys(store: Path) -> dict[str, list[str]]:
    """What each view of a store of pictures shows of them: the number of each, which hflip has on the left."""
    opened = FeatureStore(store)
    column = {"identity": 1, "hflip": 0}
    return {view: [f"{255 * value:.0f}" for value in opened.load(view=view)[:, column[view]]] for view in opened.views}


def kill_often(
    server: Server,
    what: str,
    start: Path,
    whole: dict[str, bytes],
    wanted: list[str],
    within_s: float,
    *,
    kills: int = KILLS,
    **options: Any,
):
    """Time and again: a copy of `start`, a kill within the time that the work takes, what is left, and a rerun."""
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"{what} of {len(wanted)} items: seed {seed}")
    draw = random.Random(seed)
    killed = 0
    for _ in range(kills):
        root = start.with_name("torn")
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(start, root)
        done = server.run(what, root, wanted, kill_after_s=draw.uniform(0, within_s), **options)
        assert done["status"] in (0, -signal.SIGKILL), done["error"]
        killed += done["status"] != 0
        if (start / "store").exists():
            assert numbers(root / "store") in (CONTENTS, FEWER), "a finished store was lost"
        server.must(what, root, wanted, **options)
        assert contents(root / "store") == whole, f"seed {seed}"
        if not options:
            assert numbers(root / "store") == wanted
        if done["status"] == 0:  # the kill came too late: the machine is less busy than when the work was timed
            shutil.rmtree(root)
            shutil.copytree(start, root)
            within_s = min(within_s, server.must(what, root, wanted, **options))
    print(f"{what}: {killed} of {kills} killed before the end")
    assert killed >= kills // 2


@pytest.mark.slow
def test_extraction_killed_at_any_moment_comes_to_the_same_bytes(server, tmp_path):
    took_s = server.must("extract", tmp_path / "whole")
    (tmp_path / "start").mkdir()
    kill_often(server, "extract", tmp_path / "start", contents(tmp_path / "whole/store"), CONTENTS, took_s)


@pytest.mark.slow
def test_extraction_of_several_views_killed_at_any_moment_comes_to_the_same_bytes(server, tmp_path):
    views = ["identity", "hflip", "random-resized-crop.1"]
    took_s = server.must("extract", tmp_path / "whole", TEN, views=views)
    (tmp_path / "start").mkdir()
    whole = contents(tmp_path / "whole/store")
    kill_often(server, "extract", tmp_path / "start", whole, TEN, took_s, kills=10, views=views)


@pytest.mark.slow
def test_a_view_added_and_killed_before_every_step_leaves_the_old_store_or_the_new(server, tmp_path):
    start, both = tmp_path / "start", ["identity", "hflip"]
    server.must("extract", start, SIX, views=["identity"])
    shutil.copytree(start, tmp_path / "whole")
    server.must("extract", tmp_path / "whole", SIX, views=both)
    whole = contents(tmp_path / "whole/store")
    for step in range(1000):
        root = tmp_path / f"torn-{step}"
        shutil.copytree(start, root)
        done = server.run("extract", root, SIX, kill_at_step=step, views=both)
        assert greys(root / "store") in ({"identity": SIX}, {"identity": SIX, "hflip": SIX}), f"lost at step {step}"
        if done["status"] == 0:
            break
        assert done["status"] == -signal.SIGKILL, done["error"]
        server.must("extract", root, SIX, views=both)
        assert contents(root / "store") == whole, f"step {step}"
    assert step >= 8


@pytest.mark.slow
def test_index_writing_killed_at_any_moment_leaves_the_old_store_or_the_new(server, tmp_path):
    server.must("extract", tmp_path / "start")
    shutil.copytree(tmp_path / "start", tmp_path / "whole")
    took_s = server.must("extract", tmp_path / "whole", FEWER)  # computes nothing: links, index, clearing away
    kill_often(server, "extract", tmp_path / "start", contents(tmp_path / "whole/store"), FEWER, took_s)


@pytest.mark.slow
def test_compaction_killed_at_any_moment_leaves_a_store_that_reads_the_same(server, tmp_path):
    server.must("extract", tmp_path / "start")
    server.must("extract", tmp_path / "start", FEWER)
    shutil.copytree(tmp_path / "start", tmp_path / "whole")
    took_s = server.must("compact", tmp_path / "whole", FEWER)
    kill_often(server, "compact", tmp_path / "start", contents(tmp_path / "whole/store"), FEWER, took_s)


@pytest.mark.parametrize("what", ["extract", "index", "compact"])
@pytest.mark.slow
def test_killed_before_every_single_rename_link_and_removal(server, tmp_path, what):
    """At random times the few milliseconds that matter are seldom hit; here each of them is."""
    start, wanted = tmp_path / "start", TEN
    start.mkdir()
    if what != "extract":
        server.must("extract", start, TEN)
        wanted = SIX
    if what == "compact":
        server.must("extract", start, SIX)
    shutil.copytree(start, tmp_path / "whole")
    server.must(what, tmp_path / "whole", wanted)
    whole = contents(tmp_path / "whole/store")
    for step in range(1000):
        root = tmp_path / f"torn-{step}"
        shutil.copytree(start, root)
        done = server.run(what, root, wanted, kill_at_step=step)
        if (start / "store").exists():
            assert numbers(root / "store") in (TEN, SIX), f"a finished store was lost at step {step}"
        if done["status"] == 0:
            break
        assert done["status"] == -signal.SIGKILL, done["error"]
        server.must(what, root, wanted)
        assert contents(root / "store") == whole, f"step {step}"
    print(f"{what}: {step} steps")
    assert step >= 8


def rows_and_features(folder: Path) -> tuple[list[str], list[str]] | None:
    """Ids and features of an exported array, where both are there."""
    if not (folder / "x.npy").exists():
        return None
    with (folder / "x.rows.csv").open(newline="") as stream:
        ids = [line["item_id"] for line in csv.DictReader(stream)]
    return ids, [f"{value:g}" for value in np.load(folder / "x.npy")[:, 0]]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.slow
def test_an_export_killed_before_every_step_never_pairs_rows_with_others_features(server, tmp_path, first):
    start = tmp_path / "start"
    server.must("extract", start, TEN)
    if not first:
        server.must("export", start, to="x.npy")
    old = {(tuple(f"item{i}" for i in range(10)), tuple(TEN))}
    server.must("extract", start, SIX)
    new = (tuple(f"item{i}" for i in range(6)), tuple(SIX))
    for step in range(100):
        root = tmp_path / f"torn-{step}"
        shutil.copytree(start, root)
        done = server.run("export", root, to="x.npy", kill_at_step=step)
        pair = rows_and_features(root / "out")
        assert pair is None or tuple(map(tuple, pair)) in old | {new}, f"step {step}"
        if done["status"] == 0:
            break
        assert done["status"] == -signal.SIGKILL, done["error"]
        server.must("export", root, to="x.npy")
        assert tuple(map(tuple, rows_and_features(root / "out"))) == new
        assert {path.name for path in (root / "out").iterdir()} == {"x.npy", "x.rows.csv"}, f"step {step}"
    assert step >= 2


def test_ctrl_c_ends_it_and_the_next_run_goes_on(server, tmp_path):
    took_s = server.must("extract", tmp_path / "whole")
    for share in (0.3, 0.6, 0.9):
        done = server.run("extract", tmp_path / "torn", kill_after_s=share * took_s, signal=signal.SIGINT)
        assert done["status"] in (0, 130, -signal.SIGINT), done["error"]
    server.must("extract", tmp_path / "torn")
    assert contents(tmp_path / "torn/store") == contents(tmp_path / "whole/store")


@pytest.mark.parametrize(("too_large", "limit_bytes"), [("shards", 500), ("shards", 5000), ("index", None)])
@pytest.mark.slow
def test_a_full_disk_is_an_error_that_says_so_and_the_next_run_goes_on(server, tmp_path, too_large, limit_bytes):
    server.must("extract", tmp_path / "whole")
    shard_bytes = max(path.stat().st_size for path in (tmp_path / "whole/store").glob("shard-*.h5"))
    assert 5000 < shard_bytes < (tmp_path / "whole/store/index.h5").stat().st_size
    done = server.run("extract", tmp_path / "full", limit_bytes=limit_bytes or shard_bytes)
    assert done["status"] == 1, done["error"]
    assert "can't write here" in done["error"]
    assert "free some space" in done["error"]
    assert not (tmp_path / "full/store/index.h5").exists()
    assert bool(list((tmp_path / "full").glob("cache/*/shard-*.h5"))) == (too_large == "index")
    server.must("extract", tmp_path / "full")
    assert contents(tmp_path / "full/store") == contents(tmp_path / "whole/store")


def test_a_disk_that_fills_during_compaction_keeps_the_store(server, tmp_path):
    server.must("extract", tmp_path)
    server.must("extract", tmp_path, FEWER)
    done = server.run("compact", tmp_path, limit_bytes=500)
    assert (done["status"], "free some space" in done["error"]) == (1, True), done["error"]
    assert numbers(tmp_path / "store") == FEWER


@pytest.fixture
def read_only():
    """Makes folders read-only by a mount, since root may write into any folder whatever its mode."""
    mounted: list[Path] = []

    def mount(folder: Path) -> None:
        for options in (["--bind", str(folder), str(folder)], ["-o", "remount,ro,bind", str(folder)]):
            if shutil.which("mount") is None or subprocess.run(["mount", *options], capture_output=True).returncode:
                pytest.skip("mounting is not allowed here")
            if folder not in mounted:
                mounted.append(folder)

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("name", ["cache", "store"])
def test_a_read_only_folder_is_an_error_that_names_it_and_the_store_still_reads(tmp_path, read_only, name):
    run(tmp_path, "12")
    folder = next((tmp_path / "cache").iterdir()) if name == "cache" else tmp_path / "store"
    read_only(folder)
    with pytest.raises(IceboxError, match=rf"{folder.name}.*can't write here.*make it writable"):
        run(tmp_path, "123")
    assert numbers(tmp_path / "store") == ["1", "2"]


def test_a_read_only_store_opens_streams_and_is_found_whole(tmp_path, read_only):
    from icebox.features.store import verification

    run(tmp_path, "12")
    read_only(tmp_path / "store")
    assert verification.verify_store(tmp_path / "store") == []
    assert len(list(FeatureStore(tmp_path / "store").batches(1))) == 2


def test_two_extractions_at_once_end_as_one_store_and_one_clear_error(server, tmp_path):
    other = Server(tmp_path)
    try:
        for each in (server, other):
            task = {"what": "extract", "root": str(tmp_path / "both"), "contents": CONTENTS}
            each.process.stdin.write(json.dumps(task) + "\n")
            each.process.stdin.flush()
        done = [json.loads(each.process.stdout.readline()) for each in (server, other)]
    finally:
        other.process.stdin.close()
        other.process.wait()
        other.process.stdout.close()
    assert 0 in [one["status"] for one in done], done
    assert all(one["status"] == 0 or "another process" in one["error"] for one in done)
    server.must("extract", tmp_path / "whole")
    assert contents(tmp_path / "both/store") == contents(tmp_path / "whole/store")


def test_an_item_that_vanishes_while_running_is_named_and_the_next_run_goes_on(tmp_path):
    def read(source: str) -> str:
        if source == "7":
            raise FileNotFoundError(source)
        return source

    with pytest.raises(IceboxError, match=r"'item7'.*can't be read any more") as caught:
        run(tmp_path, CONTENTS, read=read)
    assert caught.value.hint == "make the manifest again"
    assert not (tmp_path / "store").exists()
    assert len(run(tmp_path, CONTENTS).passed) < len(CONTENTS) + 5  # not everything anew, but for the canary's four


def run(folder: Path, items, *, read=lambda source: source) -> Doubling:
    backbone = Doubling()
    extract(
        rows(*items), read=read, backbone=backbone, cache_root=folder / "cache", store=folder / "store", shard_rows=3
    )
    return backbone
