import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icebox.features import files
from icebox.features.errors import IceboxError
from icebox.features.extraction import summary
from icebox.features.extraction.extract import extract
from icebox.features.images import remarks
from icebox.features.store.feature_store import FeatureStore
from icebox.features.store.shard_cache.adoption import adopt
from icebox.features.store.shard_cache.compaction import compact
from tests.tiny import Doubling, rows


def run(tmp_path: Path, items, backbone=None, *, store: str = "store", **options):
    backbone = backbone or Doubling()
    done = extract(
        items,
        read=options.pop("read", lambda source: source),
        backbone=backbone,
        cache_root=tmp_path / "cache",
        store=tmp_path / store,
        batch_size=2,
        shard_rows=options.pop("shard_rows", 3),
        **options,
    )
    return done, backbone


def test_what_a_decoder_complains_of_is_kept_beside_the_row_and_told_again(tmp_path):
    class Odd(Doubling):
        def prepare(self, content):
            if content == "2":
                remarks.add("odd")
            return super().prepare(content)

    for store in ("store", "grown"):
        done, _ = run(tmp_path, rows("1", "2", "3"), Odd(), store=store)
        assert done.odd == FeatureStore(tmp_path / store).odd == {"item1": "odd"}
    assert done.passed == 0
    plain, _ = run(tmp_path, rows("1", "2", "3"), Doubling(version=2), store="plain")
    assert plain.odd == FeatureStore(tmp_path / "plain").odd == {}
    compact(tmp_path / "store", tmp_path / "cache")
    assert FeatureStore(tmp_path / "store").odd == {"item1": "odd"}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@settings(max_examples=30, deadline=None)
@given(
    numbers=st.lists(st.integers(0, 9), min_size=1, max_size=20),
    shard_rows=st.integers(1, 7),
    picked=st.lists(st.integers(0, 1000), max_size=8),
)
@pytest.mark.slow
def test_what_was_encoded_is_what_is_read_for_any_items_and_shard_size(tmp_path_factory, numbers, shard_rows, picked):
    tmp_path = tmp_path_factory.mktemp("x")
    run(tmp_path, rows(*map(str, numbers)), shard_rows=shard_rows)
    store = FeatureStore(tmp_path / "store")
    expected = np.array([[n, 2 * n] for n in numbers], np.float32)
    np.testing.assert_array_equal(store.load(outputs=["last"]), expected)
    assert store.load().shape == (len(numbers), 6)
    items = np.array([p % len(numbers) for p in picked], np.int64)
    np.testing.assert_array_equal(store.rows(items, "last"), expected[items])
    with h5py.File(tmp_path / "store" / "index.h5") as file:
        np.testing.assert_array_equal(file["features/last"][:], expected)
        np.testing.assert_array_equal(file["features/grid"][:, 0, 1], expected[:, 0])


def test_the_index_gives_ids_labels_and_splits_in_manifest_order(tmp_path):
    run(tmp_path, rows("1", "22", "3"))
    store = FeatureStore(tmp_path / "store")
    assert store.item_ids.tolist() == ["item0", "item1", "item2"]
    assert store.labels.tolist() == ["1", "0", "1"]
    assert store.splits.tolist() == ["train"] * 3
    assert store.spec["family"] == "doubling"


def test_equal_contents_pass_the_backbone_once(tmp_path):
    done, backbone = run(tmp_path, rows("1", "2", "1", "1"))
    assert done.passed == 2
    assert backbone.passed == ["1", "1", "2"]  # the first "1" finds out how wide a row is
    assert FeatureStore(tmp_path / "store").load(outputs=["last"])[:, 0].tolist() == [1, 2, 1, 1]


def test_contents_longer_than_the_network_takes_are_counted_as_they_pass(tmp_path):
    class Short(Doubling):
        def was_cut(self, prepared):
            return prepared > 9

    done, _ = run(tmp_path, rows("1", "12", "12", "30", "4", "5", "66"), Short())
    assert done.truncated == 3
    done, _ = run(tmp_path, rows("12", "77"), Short())
    assert done.truncated == 1


def test_contents_that_are_mostly_unknown_are_counted_and_told(tmp_path):
    class Foreign(Doubling):
        def is_mostly_unknown(self, prepared):
            return prepared > 9

    done, backbone = run(tmp_path, rows("1", "12", "12", "30"), Foreign())
    assert done.unknown == 2
    first, *_ = summary.lines(done, backbone, name="net", views=1, siamese=False, stored="float32", seconds=1.0)
    assert first == "2 of 3 are mostly unknown to net; is it of this language?"


def test_adding_items_extracts_only_those(tmp_path):
    run(tmp_path, rows("1", "2", "3", "4"))
    done, _ = run(tmp_path, rows("0", "1", "2", "3", "4"))
    assert done.passed == 1
    assert FeatureStore(tmp_path / "store").load(outputs=["last"])[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_removing_items_or_changing_splits_extracts_nothing(tmp_path):
    run(tmp_path, rows("1", "2", "3", "4"))
    done, _ = run(tmp_path, rows("4", "2", split="test"))
    assert done.passed == 0
    store = FeatureStore(tmp_path / "store")
    assert store.load(split="test", outputs=["last"])[:, 0].tolist() == [4, 2]
    assert len(store.load(split="train")) == 0


def test_a_shard_that_no_item_needs_leaves_the_store(tmp_path):
    run(tmp_path, rows("1", "2", "3", "4"))
    run(tmp_path, rows("1"))
    assert len(list((tmp_path / "store").glob("shard-*.h5"))) == 1


def test_a_second_store_of_the_same_backbone_takes_what_the_first_computed(tmp_path):
    run(tmp_path, rows("1", "2"))
    done, _ = run(tmp_path, rows("2", "3"), store="other")
    assert done.passed == 1


def test_an_interrupted_run_resumes_and_gives_the_bytes_of_an_uninterrupted_one(tmp_path):
    items = rows(*map(str, range(10)))
    run(tmp_path / "whole", items)

    def read(source: str) -> str:
        if source == "7":
            raise KeyboardInterrupt
        return source

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "torn", items, read=read)
    assert not (tmp_path / "torn/store").exists()
    done, _ = run(tmp_path / "torn", items)
    assert done.passed == 4  # shards of 3: items 0 to 5 were kept
    assert contents(tmp_path / "torn/store") == contents(tmp_path / "whole/store")


KILLED = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from icebox.features.extraction.extract import extract
    from tests.tiny import Doubling, rows

    class Slow(Doubling):
        def encode(self, prepared):
            time.sleep(0.01)
            return super().encode(prepared)

    root = Path(sys.argv[1])
    print("begin", flush=True)
    extract(rows(*map(str, range(40))), read=lambda source: source, backbone=Slow(), cache_root=root / "cache",
            store=root / "store", batch_size=2, shard_rows=3)
""")


@pytest.mark.slow
def test_killed_at_any_moment_it_resumes_to_the_same_bytes(tmp_path):
    def start(root: Path) -> subprocess.Popen:
        return subprocess.Popen([sys.executable, "-c", KILLED, str(root)], stdout=subprocess.PIPE, cwd=Path.cwd())

    whole = start(tmp_path / "whole")
    assert whole.communicate()[0] == b"begin\n"
    assert whole.returncode == 0
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    random = np.random.default_rng(seed)
    for _ in range(5):
        process = start(tmp_path / "torn")
        process.stdout.readline()
        try:
            process.wait(timeout=random.uniform(0.01, 0.3))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.communicate()
    last = start(tmp_path / "torn")
    last.communicate()
    assert last.returncode == 0
    assert contents(tmp_path / "torn/store") == contents(tmp_path / "whole/store")


def test_a_damaged_shard_in_the_cache_is_redone_and_only_that(tmp_path, caplog):
    run(tmp_path, rows(*map(str, range(9))))
    before = contents(tmp_path / "store")
    victim = sorted((tmp_path / "cache").glob("*/shard-*.h5"))[0]
    victim.chmod(0o644)
    victim.unlink()
    victim.write_bytes(b"not an HDF5 file")
    done, _ = run(tmp_path, rows(*map(str, range(9))), store="again")
    assert done.passed == 3
    assert victim.name in caplog.text
    assert contents(tmp_path / "again") == before


def test_a_pulled_store_is_adopted_so_that_it_grows_instead_of_restarting(tmp_path):
    run(tmp_path / "teammate", rows("1", "2", "3"))
    teammates = FeatureStore(tmp_path / "teammate/store")
    adopt(teammates.folder, tmp_path / "mine/cache")
    done, _ = run(tmp_path / "mine", rows("1", "2", "3", "4"))
    assert done.passed == 1


def test_a_changed_backbone_version_extracts_everything_anew(tmp_path):
    run(tmp_path, rows("1", "2"))
    done, _ = run(tmp_path, rows("1", "2"), Doubling(version=2))
    assert done.passed == 2


def test_the_canary_refuses_features_that_changed_under_the_same_fingerprint(tmp_path):
    run(tmp_path, rows("1", "2"))
    with pytest.raises(IceboxError, match=r"item 'item\d'.*raise VERSION"):
        run(tmp_path, rows("1", "2", "3"), Doubling(shift=0.5))


def test_an_unreadable_item_is_named_with_the_choice_there_is(tmp_path):
    with pytest.raises(IceboxError, match=r"'item1'.*expected a number.*mend or remove it") as caught:
        run(tmp_path, rows("1", "bad", "3"))
    assert caught.value.hint == "skip unreadable items"


def test_skipping_leaves_out_what_cannot_be_read_and_lists_it(tmp_path):
    done, _ = run(tmp_path, rows("1", "bad", "3"), skip_unreadable=True)
    assert done.skipped == {"item1": "expected a number, found 'bad'"}
    store = FeatureStore(tmp_path / "store")
    assert store.item_ids.tolist() == ["item0", "item2"]
    assert store.skipped == done.skipped


def test_a_later_strict_run_still_names_the_unreadable_item(tmp_path):
    run(tmp_path, rows("1", "bad", "3"), skip_unreadable=True)
    with pytest.raises(IceboxError, match="'item1'"):
        run(tmp_path, rows("1", "bad", "3"))


def test_one_new_item_that_cannot_be_read_is_skipped_too(tmp_path):
    run(tmp_path, rows("1", "2"))
    done, _ = run(tmp_path, rows("1", "2", "bad"), skip_unreadable=True)
    assert list(done.skipped) == ["item2"]


def test_nothing_readable_at_all_is_an_error(tmp_path):
    with pytest.raises(IceboxError, match="none of the 1 items"):
        run(tmp_path, rows("bad"), skip_unreadable=True)


def test_a_non_finite_feature_names_the_item_and_the_backbone(tmp_path):
    with pytest.raises(IceboxError, match=r"'item2'.*'doubling'.*non-finite"):
        run(tmp_path, rows("1", "2", "inf"))


def test_content_that_changed_since_the_manifest_is_an_error(tmp_path):
    with pytest.raises(IceboxError, match=r"'item0'.*not what it was"):
        run(tmp_path, rows("1"), read=lambda source: "5")


def test_an_item_that_vanished_is_an_error(tmp_path):
    def read(source: str) -> str:
        raise FileNotFoundError(source)

    with pytest.raises(IceboxError, match=r"'item0'.*can't be read any more"):
        run(tmp_path, rows("1"), read=read)


def test_two_extractions_of_the_same_features_at_once_are_refused(tmp_path):
    run(tmp_path, rows("1"))
    folder = next((tmp_path / "cache").iterdir())
    with files.locked(folder / "lock"), pytest.raises(IceboxError, match="another process"):
        run(tmp_path, rows("1", "2"))


def test_shards_are_read_only_and_shared_with_the_cache(tmp_path):
    run(tmp_path, rows("1"))
    path = next((tmp_path / "store").glob("shard-*.h5"))
    assert path.stat().st_mode & 0o777 == 0o444
    assert path.stat().st_nlink == 2


@pytest.mark.parametrize("whole_shards", [True, False])
def test_the_shard_that_follows_is_prepared_while_the_network_is_at_one_and_no_item_twice(tmp_path, whole_shards):
    third, prepared = threading.Event(), []

    class Patient(Doubling):
        def prepare(self, content):
            prepared.append(content)
            if content == "3":
                third.set()
            return super().prepare(content)

        def encode(self, given):
            assert not {1.0, 2.0} & set(given) or len(prepared) == 1 or third.wait(30)
            return super().encode(given)

    backbone = Patient()
    backbone.whole_shards = whole_shards
    store = tmp_path / "store"
    extract(
        rows("1", "2", "3", "4", "5"), read=str, backbone=backbone, cache_root=tmp_path / "cache", store=store,
        shard_rows=2, batch_size=2,
    )  # fmt: skip
    assert FeatureStore(store).load()[:, 0].tolist() == [1, 2, 3, 4, 5]
    assert sorted(prepared) == ["1", "1", "2", "3", "4", "5"]  # the first also to learn how large a row is
