"""Columns of an index: ids, labels and splits as bytes of one width."""

import h5py
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from icebox.features.manifest.manifest import Manifest, ManifestRow
from icebox.features.store.index import encoded_column, encoded_texts

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)


@given(
    st.lists(st.tuples(TEXTS, st.sampled_from(["cat", "", "é", "dog"]), st.sampled_from(["train", "val"])), max_size=9)
)
@settings(deadline=None)
def test_columns_are_their_texts_in_utf8(cells):
    rows = Manifest.of(
        ManifestRow(item_id=name, item_key="", label=label, split=split, group="", source="")
        for name, label, split in cells
    )
    for taken in (slice(None), slice(1, None)):  # a slice keeps values that none of its rows has
        for number, name in enumerate(("item_id", "label", "split")):
            column, expected = encoded_column(rows[taken], name), encoded_texts([cell[number] for cell in cells[taken]])
            assert column.tobytes() == expected.tobytes()
            assert column.dtype == expected.dtype
            assert h5py.check_string_dtype(column.dtype) == h5py.check_string_dtype(expected.dtype)
            assert np.array_equal(column, expected)
