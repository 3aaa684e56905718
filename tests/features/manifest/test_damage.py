"""A manifest that is no longer what was written."""

import pytest

from icebox.features.errors import IceboxError
from icebox.features.manifest import manifest
from tests.tiny import rows


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
def test_a_damaged_one_is_refused_by_its_line(old, new, problem, tmp_path):
    path = tmp_path / "m.csv"
    manifest.write(path, rows("a", "b"))
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
    with pytest.raises(IceboxError, match="expected a manifest, found no file"):
        manifest.read(tmp_path / "none.csv")
