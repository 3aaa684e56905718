"""A manifest that is no longer what was written."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from icebox.features.errors import IceboxError
from icebox.features.manifest import manifest, tables
from tests.tiny import rows

KEY = "0123456789abcdef" * 4


def write_older(path: Path) -> None:
    """A manifest as Icebox 0.1 wrote it."""
    columns = {name: [getattr(row, name) for row in rows("a", "b")] for name in tables.COLUMNS}
    tables.write_csv(path, columns)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (b'"item1",', b"", r"m\.csv, line 3: expected a manifest, found a line of 5 cells, not 6"),
        (b'"train"', b'"tra?n"', r"m\.csv, line 2: .*found the split 'tra\?n'"),
        (b'"item_id"', b'"item_ie"', r"m\.csv: .*found the columns 'item_ie, item_key"),
        (b"item1", b"\xff", r"m\.csv: expected a manifest, found 'utf-8' codec"),
        (b'"\n"item1', b'" "\n"item1', r"m\.csv: expected a manifest, found ',' expected after"),
    ],
)
def test_a_damaged_csv_is_refused_by_its_line(old, new, problem, tmp_path):
    path = tmp_path / "m.csv"
    write_older(path)
    assert len(manifest.read(path)) == 2
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    with pytest.raises(IceboxError, match=problem) as caught:
        manifest.read(path)
    assert caught.value.hint == "make the manifest again"


def test_an_empty_and_a_missing_one_are_refused(tmp_path):
    (tmp_path / "m.csv").write_bytes(b"")
    with pytest.raises(IceboxError, match="expected a manifest, found the columns"):
        manifest.read(tmp_path / "m.csv")
    (tmp_path / "m.parquet").write_bytes(b"")
    with pytest.raises(IceboxError, match=r"m\.parquet: expected a manifest, found ArrowInvalid"):
        manifest.read(tmp_path / "m.parquet")
    for name in ("none.csv", "none.parquet"):
        with pytest.raises(IceboxError, match="expected a manifest, found no file"):
            manifest.read(tmp_path / name)


def outcome_of(path: Path) -> manifest.Manifest | IceboxError:
    """What reading gives, or the error that it ends in."""
    try:
        return manifest.read(path)
    except IceboxError as error:
        return error


def test_any_changed_byte_is_refused_in_one_line_or_changes_nothing(tmp_path):
    path = tmp_path / "m.parquet"
    manifest.write(path, rows(*"abcdefgh"))
    content, whole = path.read_bytes(), manifest.read(path)
    for position in np.random.default_rng(0).integers(0, len(content), 60).tolist():
        changed = bytearray(content)
        changed[position] ^= 0xFF
        path.write_bytes(changed)
        outcome = outcome_of(path)
        assert outcome == whole or (outcome.hint == "make the manifest again" and "\n" not in str(outcome))


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"split": ["tra?n"]}, "the split 'tra.n'"),
        ({"item_key": ["xyz"]}, "the hash 'xyz'"),
        ({"label": pa.array([None], pa.string())}, "rows without a value"),
        ({"item_ix": ["a"]}, "the columns 'item_id"),
        ({"label": pa.array([[1]])}, ""),
    ],
)
def test_a_table_that_is_no_manifest_is_refused(columns, problem, tmp_path):
    whole = {"item_id": ["a"], "item_key": [KEY], "label": ["x"], "split": ["train"], "group": [""], "source": ["s"]}
    pq.write_table(pa.table(whole), tmp_path / "m.parquet")
    assert [row.item_key for row in manifest.read(tmp_path / "m.parquet")] == [KEY]
    pq.write_table(pa.table(whole | columns), tmp_path / "m.parquet")
    with pytest.raises(IceboxError, match=f"expected a manifest, found {problem}") as caught:
        manifest.read(tmp_path / "m.parquet")
    assert caught.value.hint == "make the manifest again"


def test_the_csv_of_an_older_project_stands_in_for_a_missing_parquet(tmp_path):
    write_older(tmp_path / "m.csv")
    older = manifest.read(tmp_path / "m.parquet")
    assert list(older) == rows("a", "b")
    assert manifest.exists(tmp_path / "m.parquet")
    manifest.write(tmp_path / "m.parquet", rows("c"))
    assert list(manifest.read(tmp_path / "m.parquet")) == rows("c")
