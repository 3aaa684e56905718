"""The engine `ray` on a cluster of several nodes on this machine, whose actors and nodes are lost."""

import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from icebox.features.engines.ray_cluster import RayCluster, packed, unpacked
from icebox.features.errors import IceboxError
from icebox.features.extraction.shard_work import Local
from tests.features.engines.counting import Elsewhere, Tiny, passed
from tests.features.engines.test_processes import run, stored

ray = pytest.importorskip("ray", reason="needs icebox[ray]")
pytestmark = pytest.mark.filterwarnings("ignore")
NUMBERS = [str(number) for number in range(40)]


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    ray.init(address=made.address, log_to_driver=False, logging_level=logging.ERROR)
    made.add_node(num_cpus=1)
    yield made
    ray.shutdown()
    made.shutdown()


def test_a_cluster_that_is_not_there_is_one_line(tmp_path, monkeypatch):
    assert not ray.is_initialized()  # it comes first in this file
    monkeypatch.setenv("RAY_ADDRESS", "nonsense")
    with pytest.raises(IceboxError, match=r"engine: ray: no cluster to be reached \(RAY_ADDRESS: nonsense\)"):
        run(tmp_path, RayCluster(Tiny(tmp_path / "notes")), "1")


@pytest.mark.slow
def test_lost_actors_and_nodes_cost_their_shards_only(tmp_path, cluster, caplog):
    run(tmp_path / "alone", Local(), *NUMBERS)
    opener = Tiny(tmp_path / "notes", pause_s=0.02, deadly={"7": 1})

    def lose_a_node() -> None:
        deadline = time.monotonic() + 60
        while len(passed(tmp_path / "notes")) < 12 and time.monotonic() < deadline:
            time.sleep(0.02)
        cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)

    (tmp_path / "notes").mkdir()
    with ThreadPoolExecutor(1) as pool:
        losing = pool.submit(lose_a_node)
        done, reported = run(tmp_path, RayCluster(opener), *NUMBERS)
        losing.result()
    assert stored(tmp_path) == stored(tmp_path / "alone")
    assert done.passed == reported == len(NUMBERS)
    losses = caplog.text.count("a worker of Ray was lost")
    assert 1 <= losses <= 2 + 1
    assert set(passed(tmp_path / "notes")) == set(NUMBERS)
    assert len(passed(tmp_path / "notes")) <= len(NUMBERS) + losses * 2 * 3
    net, notes = tmp_path / "net", tmp_path / "elsewhere/notes"
    for path in (net / "deep", notes):
        path.mkdir(parents=True)
    (net / "deep/weights").write_text("sent")
    run(tmp_path / "elsewhere", RayCluster(Elsewhere(net, notes, os.getpid())), *NUMBERS)
    assert (notes / "sent").exists()
    assert stored(tmp_path / "elsewhere") == stored(tmp_path / "alone")
    with pytest.raises(IceboxError, match="item 'item1': expected a number, found 'bad'"):
        run(tmp_path / "bad", RayCluster(Tiny(tmp_path / "bad/notes")), "1", "bad", "3")


def test_weights_are_unpacked_once_on_a_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    net = tmp_path / "net"
    (net / "deep").mkdir(parents=True)
    (net / "a").write_bytes(b"1")
    (net / "deep/b").write_bytes(b"")
    first = unpacked(packed(net))
    (first / "mark").touch()
    assert unpacked(packed(net)) == first
    assert (first / "a").read_bytes() == b"1"
    assert (first / "deep/b").read_bytes() == b""
    assert (first / "mark").exists()
    (net / "a").write_bytes(b"2")
    assert unpacked(packed(net)) != first


def test_received_bytes_must_be_those_of_the_name(tmp_path):
    from icebox.features.store.shard_cache.cache import ShardCache
    from icebox.features.store.shards import DamagedShard

    run(tmp_path, Local(), "1", "2")
    (shard,) = (tmp_path / "store").glob("shard-*.h5")
    (folder,) = (tmp_path / "cache").glob("*/")
    cache = ShardCache(tmp_path / "other", folder.name)
    content = np.fromfile(shard, np.uint8)
    assert cache.receive(shard.name, content).path.read_bytes() == shard.read_bytes()
    content[-1] ^= 1
    with pytest.raises(DamagedShard):
        cache.receive(shard.name, content)
