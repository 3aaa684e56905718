import pytest

from icebox.features import files


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "f"
    target.write_text("old")

    def fail() -> None:
        with files.replacing(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_sweeping_removes_what_killed_writers_left(tmp_path):
    (tmp_path / f"{files.TEMPORARY}1-x").write_text("half")
    (tmp_path / "shard").write_text("whole")
    files.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["shard"]
