import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icebox.features import fingerprint
from icebox.features.abc.dataset import Pair
from icebox.features.errors import IceboxError

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), plain))
def test_the_order_of_keys_makes_no_difference(settings):
    backwards = dict(reversed(list(settings.items())))
    assert fingerprint.canonical_json(settings) == fingerprint.canonical_json(backwards)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), print, object(), {1: 2}, {"a": {1, 2}}])
def test_what_has_no_stable_text_is_refused(value):
    with pytest.raises(IceboxError, match="plain JSON"):
        fingerprint.of_settings({"x": value} if not isinstance(value, dict) else value)


def test_content_is_its_sha256():
    assert fingerprint.of_content(b"abc") == hashlib.sha256(b"abc").hexdigest()
    assert fingerprint.of_content("abc") == hashlib.sha256(b"abc").hexdigest()


def test_arrays_of_other_shape_or_type_are_other_contents():
    flat = np.arange(4, dtype=np.uint8)
    assert len({fingerprint.of_content(a) for a in (flat, flat.reshape(2, 2), flat.astype(np.int8))}) == 3


def test_a_pair_is_its_texts_in_their_order():
    pairs = [Pair("ab", "c"), Pair("a", "bc"), Pair("c", "ab")]
    assert len({fingerprint.of_content(pair) for pair in [*pairs, "abc"]}) == 4
    assert fingerprint.of_content(Pair("ab", "c")) == fingerprint.of_content(pairs[0])


def test_a_file_is_its_bytes(tmp_path):
    (tmp_path / "f").write_bytes(b"x" * 3_000_000)
    assert fingerprint.of_file(tmp_path / "f") == hashlib.sha256(b"x" * 3_000_000).hexdigest()
