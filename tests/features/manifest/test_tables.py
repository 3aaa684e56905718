"""Columns of texts are what pyarrow makes of a list, without the half second that it takes to import pandas."""

import subprocess
import sys

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icebox.features import fingerprint
from icebox.features.manifest import tables

TEXTS = st.lists(st.text(st.characters(codec="utf-8"), max_size=5), max_size=20)
CODE = """
import sys
from pathlib import Path
from icebox.features.abc.dataset import Item
from icebox.features.manifest import manifest
from icebox.features.manifest.listing import list_items
items = [Item(item_id=name, source=name, label=name, split="train", content=content) for name, content in
         (("True", "a"), ("é", "b"), ("b", "c"))]
list_items([Item(item_id=name, source=name, label=name) for name in "ab"])
manifest.write(Path(sys.argv[1]), list_items(items))
print(len(manifest.read(Path(sys.argv[1]))), "pandas" in sys.modules)
"""


@settings(deadline=None)
@given(TEXTS)
def test_columns_are_those_of_pyarrow(values):
    assert tables.column_of("source", values).equals(pa.array(values, pa.large_string()))
    assert tables.column_of("group", values).equals(pa.array(values, pa.string()).dictionary_encode())
    assert tables.column_of("item_key", ["", *values]).equals(pa.array(["", *values], pa.string()))


def test_blocks_of_whole_keys_and_of_others_become_one_column_of_texts():
    key = fingerprint.of_content("a")
    blocks = [{name: [value] for name in tables.COLUMNS} for value in (key, "ab")]
    assert tables.of_blocks(blocks).column("item_key").to_pylist() == [key, "ab"]


@pytest.mark.parametrize("column", ["source", "label", "item_key"])
@pytest.mark.parametrize(("value", "error"), [("\ud800", UnicodeEncodeError), (None, TypeError)])
def test_what_is_no_text_is_an_error(column, value, error):
    with pytest.raises(error):
        tables.column_of(column, [value])


def test_a_manifest_is_made_without_importing_pandas(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", CODE, tmp_path / "m.parquet"], capture_output=True, text=True, check=True
    )
    assert ended.stdout == "3 False\n"
