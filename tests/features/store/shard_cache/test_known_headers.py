"""A store that grows opens the shards that are new; the headers of others come from a record of this machine."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icebox.features import fingerprint
from icebox.features.store import shards
from icebox.features.store.feature_store import FeatureStore
from icebox.features.store.shard_cache.cache import ShardCache
from icebox.features.store.shard_cache.item_keys import DIGEST, ItemKeys
from icebox.features.store.shard_cache.known_headers import KnownHeaders
from icebox.features.store.shard_cache.places import LocatedKeys
from icebox.features.store.shards import ArrayLocation, Shard
from tests.features.store.test_verification import flip
from tests.tiny import extract_doubled

pytestmark = pytest.mark.usefixtures("project")


@pytest.fixture
def opened(monkeypatch) -> list[Path]:
    """The shards whose headers were read."""
    read: list[Path] = []
    real = shards.read
    monkeypatch.setattr(shards, "read", lambda path: read.append(path) or real(path))
    return read


def run(items: Sequence[str]) -> list[str]:
    return extract_doubled(items, store=Path("store"), cache=Path(".icebox/shards"))


def cached() -> list[Path]:
    return sorted(Path().glob(".icebox/shards/*/shard-*.h5"))


def record() -> Path:
    return next(Path(".icebox/headers").iterdir())


def everything() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path("store").iterdir()}


def test_a_store_that_grows_opens_new_shards_only(opened):
    run("012345678")
    run("0123456789")
    opened.clear()
    known = set(cached())
    more = [*"0123456789", "10", "11"]
    assert run(more) == ["10", "11"]
    assert set(opened) & known == set()
    grown = everything()
    assert run(more) == []
    assert everything() == grown
    opened.clear()
    assert run(more) == []
    assert [path.parent.name for path in opened] == ["store"]  # one, which tells the store's fingerprint
    assert everything() == grown


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "half", "folder", "another's"])
def test_a_record_that_is_damaged_costs_a_reading_of_headers(opened, damage):
    run("012345678")
    run("012345678")
    path, content = record(), record().read_bytes()
    if damage == "folder":
        path.unlink()
        path.mkdir()
    elif damage == "another's":
        ShardCache(Path(".icebox/shards"), "f").headers.keep([shard_of("zy")])
        next(other for other in path.parent.iterdir() if other != path).replace(path)
    else:
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]
        path.write_bytes({"cut": content[:-5], "flipped": flipped, "empty": b"", "half": content[:16]}[damage])
    opened.clear()
    whole = everything()
    assert run("012345678") == []
    assert set(opened) >= set(cached())
    assert everything() == whole


@pytest.mark.parametrize("same_time", [True, False])
@pytest.mark.parametrize("how", ["swapped", "replaced", "flipped", "gone"])
def test_a_shard_that_is_another_under_its_name_is_not_taken_for_the_known_one(how, same_time):
    run("012345678")
    run("012345678")
    whole = everything()
    a, b = cached()[:2]
    status = a.stat()
    if how == "swapped":
        a.rename("aside")
        b.rename(a)
        Path("aside").rename(b)
    elif how == "replaced":
        shutil.copy(b, "aside")
        Path("aside").replace(a)
    elif how == "flipped":
        content = bytearray(a.read_bytes())
        content[len(content) // 2] ^= 1
        Path("aside").write_bytes(content)
        Path("aside").replace(a)
    else:
        a.unlink()
    if same_time and a.exists():
        os.utime(a, ns=(status.st_atime_ns, status.st_mtime_ns))
    shutil.rmtree("store")
    run("012345678")
    assert everything() == whole
    store = FeatureStore(Path("store"))
    assert store.load().shape == (9, store.load().shape[1])


def test_a_shard_that_was_damaged_in_place_is_extracted_anew():
    run("012345678")
    run("012345678")
    whole = everything()
    shutil.rmtree("store")
    flip(cached()[0], 3000)
    assert len(run("012345678")) == 3
    assert everything() == whole


def shard_of(letters: str, name: str = "a", **changed: dict[int, str]) -> Shard:
    keys = ItemKeys.of(fingerprint.of_content(letter) for letter in letters)
    messages = {"errors": {}, "remarks": {}} | changed
    arrays = {"last": ArrayLocation("<f2", (len(letters), 3), 2048), "offsets/last": ArrayLocation("<i8", (1,), 64)}
    return Shard(path=Path(f"shard-{name}.h5"), fingerprint="f", item_keys=keys, arrays=arrays, **messages)


def test_a_header_is_kept_whole():
    kept = [shard_of("ab", "1", errors={1: "é\ud800"}, remarks={0: "odd"}), shard_of("", "2"), shard_of("cde", "3")]
    KnownHeaders("f", "r").keep(kept)
    known = KnownHeaders("f", "r")
    for shard in kept:
        assert known.get(Path("elsewhere") / shard.path.name) == Shard(
            **vars(shard) | {"path": Path("elsewhere") / shard.path.name}
        )
    assert known.get(Path("shard-4.h5")) is None
    assert KnownHeaders("f", "other").get(kept[0].path) is None


@settings(deadline=None)
@given(st.text("abcdefgh", max_size=8), st.lists(st.text("abcdefghij", max_size=5), max_size=6), st.integers(0, 3))
def test_shards_that_are_added_together_give_the_places_of_one_after_the_other(wanted, shard_letters, alone):
    keys = np.unique(ItemKeys.of(map(fingerprint.of_content, wanted)).digests.astype(DIGEST))
    listed = [shard_of(letters, str(i)) for i, letters in enumerate(shard_letters)]
    one_by_one, together = LocatedKeys(keys), LocatedKeys(keys)
    for shard in listed:
        if new := one_by_one.new_rows(shard):
            one_by_one.add(shard, new)
    together.add_all(listed[:alone])
    together.add_all(listed[alone:])
    assert [shard.path for shard in together.shards] == [shard.path for shard in one_by_one.shards]
    assert together.places.shard_of.tolist() == one_by_one.places.shard_of.tolist()
    of = one_by_one.located
    assert together.places.row_of[of].tolist() == one_by_one.places.row_of[of].tolist()
