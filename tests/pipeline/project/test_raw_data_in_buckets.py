"""Stamps of datasets in buckets: made of listings, and kept where no bucket can be reached."""

import json
from pathlib import Path

import pytest

from icebox.features.buckets.path import place
from icebox.features.errors import IceboxError
from icebox.pipeline.config import plugin_schema
from icebox.pipeline.project import raw_data

RECORD, SUMMARY = Path("record.json"), Path("summary.json")


def stamp(*urls: str) -> str:
    return raw_data.stamp([place(url) for url in urls], record=RECORD, summary=SUMMARY)


def test_a_stamp_changes_with_objects_and_none_is_read(s3):
    assert stamp("s3://lab/d") == "absent"
    stamps = set()
    for key, content in [("a/1", b"x"), ("a/2", b"y"), ("a/2", b"z"), ("b/2", b"z")]:
        s3.fs.pipe_file(f"lab/d/{key}", content)
        stamps.add(stamp("s3://lab/d"))
    assert len(stamps) == 4
    before = stamp("s3://lab/d")
    s3.fs.pipe_file("lab/d/.hidden/x", b"x")
    s3.fs.pipe_file("lab/elsewhere", b"x")
    s3.faults.requests.clear()
    s3.faults.share, s3.faults.kinds = 0.3, ("error", "cut")
    assert stamp("s3://lab/d") == before
    assert all(path == "/lab" or path == "/lab/" for method, path, _ in s3.faults.requests if method == "GET")
    assert not RECORD.exists()


def test_one_object_and_disk_beside_a_bucket(s3):
    s3.fs.pipe_file("lab/t.csv", b"x")
    Path("local.csv").write_text("x")
    first = raw_data.stamp([place("s3://lab/t.csv"), Path("local.csv")], record=RECORD, summary=SUMMARY)
    assert first == raw_data.stamp([place("s3://lab/t.csv"), Path("local.csv")], record=RECORD, summary=SUMMARY)
    s3.fs.pipe_file("lab/t.csv", b"y")
    assert first != raw_data.stamp([place("s3://lab/t.csv"), Path("local.csv")], record=RECORD, summary=SUMMARY)


def test_where_the_bucket_cannot_be_reached_the_stamp_is_that_of_the_manifest(s3, caplog):
    s3.fs.pipe_file("lab/d/a", b"x")
    content = stamp("s3://lab/d")
    s3.faults.share, s3.faults.kinds = 1.0, ("error",)
    with pytest.raises(IceboxError, match=r"s3://lab.* attempts failed"):
        stamp("s3://lab/d")
    SUMMARY.write_text(json.dumps({"stamp": content, "content": content}))
    assert stamp("s3://lab/d") == content
    assert "taking its data for what it was" in caplog.text


def test_files_that_items_name_are_looked_at_in_a_listing(s3):
    s3.fs.pipe_file("lab/d/1.jpg", b"x")
    named = {name: place("s3://lab/d") / name for name in ("1.jpg", "none.jpg")}
    first = raw_data.stamp([], named=named, record=RECORD, summary=SUMMARY)
    s3.fs.pipe_file("lab/d/1.jpg", b"y")
    named = {name: place("s3://lab/d") / name for name in ("1.jpg", "none.jpg")}
    assert raw_data.stamp([], named=named, record=RECORD, summary=SUMMARY) != first


def test_settings_with_credentials_are_refused_before_anything_is_kept(tmp_path):
    file = plugin_schema.plugins.file("icebox.features.datasets", "csv_text")
    for path in ("s3://me:hunter22@lab/x", {"train": "s3://lab/x?token=hunter22"}, ["s3://me:hunter22@lab/x"]):
        with pytest.raises(IceboxError, match=r"datasets\.notes\.path: .*without credentials") as error:
            plugin_schema.check(file, "Source.__init__", {"path": path}, where="datasets.notes")
        assert "hunter22" not in str(error.value)
