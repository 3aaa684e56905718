"""Keys by their prefixes, compared with numpy's own sorting of whole ones."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icebox.features.store.shard_cache.item_keys import DIGEST, ItemKeys, prefixes, unique
from icebox.features.store.shard_cache.places import LocatedKeys
from icebox.features.store.shards import Shard

ALIKE = [
    start + bytes(16) + end for start in (bytes(8), b"\xff" * 8, b"\x00" * 7 + b"\x80") for end in (b"1" * 8, b"2" * 8)
]
DIGESTS = st.lists(st.one_of(st.sampled_from(ALIKE), st.binary(min_size=32, max_size=32)), max_size=20)


def digests_of(contents: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(contents), DIGEST)


@given(DIGESTS, st.integers(0, 3))
@settings(deadline=None)
def test_distinct_keys_are_those_of_numpy(contents, repeated):
    digests = digests_of(contents * (repeated + 1))
    for own, numpys in zip(unique(digests), np.unique(digests, return_index=True, return_inverse=True), strict=True):
        assert np.array_equal(own, numpys)


def test_prefixes_have_the_order_of_their_digests():
    digests = np.sort(digests_of([bytes([i]) * 32 for i in (255, 0, 128, 127)]))
    assert prefixes(digests).tolist() == sorted(prefixes(digests).tolist())


@given(DIGESTS, DIGESTS)
@settings(deadline=None)
def test_rows_are_located_by_their_whole_key(wanted, stored):
    stored = list(dict.fromkeys(stored))
    located = LocatedKeys(np.unique(digests_of(wanted)))
    located.add(Shard(Path("shard"), "f", ItemKeys(digests_of(stored)), {}, {}, {}))
    for key, found, row in zip(located.keys, located.located, located.places.row_of, strict=True):
        whole = key.ljust(32, b"\0")
        assert found == (whole in stored)
        assert not found or stored[row] == whole


@pytest.mark.parametrize("contents", [[], [bytes(32)], ALIKE])
def test_no_key_and_keys_of_one_prefix(contents):
    assert unique(digests_of(contents))[0].tolist() == sorted({key.rstrip(b"\0") for key in contents})
