"""Parts of an extraction, made apart from each other, and the store that is made of them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from icebox.features.errors import IceboxError
from icebox.features.extraction.extract import extract, fingerprint_of
from icebox.features.store.shard_cache.cache import ShardCache
from tests.tiny import Doubling, rows

NUMBERS = [str(number) for number in range(40)]


def run(folder: Path, part=None, *, items=NUMBERS, store: str = "store", cache: str = "cache", backbone=None):
    return extract(
        rows(*items),
        read=lambda source: source,
        backbone=backbone or Doubling(),
        cache_root=folder / cache,
        store=folder / store,
        shard_rows=3,
        batch_size=2,
        part=part,
    )


def stored(folder: Path, store: str = "store") -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / store).iterdir()}


@pytest.mark.parametrize("order", [[1, 2, 3, 4], [4, 2, 3, 1], [3, 3, 1, 2, 4, 1]])
def test_parts_in_any_order_give_the_bytes_of_the_whole(tmp_path, order):
    run(tmp_path, store="whole", cache="other")
    passed = [run(tmp_path, (number, 4)).passed for number in order]
    assert not (tmp_path / "store").exists()
    assert sum(passed) == len(NUMBERS)
    assert run(tmp_path).passed == 0
    assert stored(tmp_path) == stored(tmp_path, "whole")


def test_parts_at_once_in_one_cache(tmp_path):
    run(tmp_path, store="whole", cache="other")
    with ThreadPoolExecutor(5) as pool:
        done = list(pool.map(lambda number: run(tmp_path, (number, 5)), range(1, 6)))
    assert sum(each.passed for each in done) == len(NUMBERS)
    assert sum(each.shards for each in done) == 14
    assert run(tmp_path).passed == 0
    assert stored(tmp_path) == stored(tmp_path, "whole")


def test_what_a_lost_part_lacks_the_last_extraction_makes(tmp_path):
    run(tmp_path, store="whole", cache="other")
    for number in (1, 3):
        run(tmp_path, (number, 3))
    done = run(tmp_path)
    assert 0 < done.passed < len(NUMBERS)
    assert stored(tmp_path) == stored(tmp_path, "whole")


def test_parts_of_a_store_that_grew_pass_only_the_new_items(tmp_path):
    run(tmp_path)
    grown = [*NUMBERS, "77", "78", "79", "80"]
    done = [run(tmp_path, (number, 2), items=grown) for number in (1, 2)]
    assert sum(each.passed for each in done) == 4
    assert run(tmp_path, items=grown).passed == 0


def test_an_unreadable_item_is_named_by_its_part_alone(tmp_path):
    items = ["1", "2", "3", "bad", "5"]
    outcomes = []
    for number in range(1, 3):
        try:
            outcomes.append(run(tmp_path, (number, 2), items=items).passed)
        except IceboxError as reason:
            outcomes.append(str(reason).partition(":")[0])
    assert sorted(map(str, outcomes)) in (["3", "item 'item3'"], ["0", "item 'item3'"])


def test_parts_and_a_whole_extraction_keep_each_other_out(tmp_path):
    fingerprint = fingerprint_of({**Doubling().spec, "stored": "float32"})
    cache = ShardCache(tmp_path / "cache", fingerprint)
    with cache.locked(), pytest.raises(IceboxError, match="another process is working on this right now"):
        run(tmp_path, (1, 2))
    with cache.locked(together=True):
        run(tmp_path, (1, 2))
        with pytest.raises(IceboxError, match="another process is working on this right now"):
            run(tmp_path)
    run(tmp_path)
