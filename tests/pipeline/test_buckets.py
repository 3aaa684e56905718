"""Projects whose datasets and shard cache lie in buckets: the same stores as from a disk, by the commands of users."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.cli import doctor
from icebox.pipeline.cli.app import main
from icebox.pipeline.project import paths
from tests.s3 import SECRET

PARAMS = """
datasets:
  photos: {{source: image_folder, path: {raw}/photos}}
  notes: {{source: csv_text, path: {raw}/notes.csv, text: text, label: label}}
backbones:
  pixels: {{size: 4}}
  hashing: {{dimensions: 64}}
stores:
  photos-pixels: {{dataset: photos, backbone: pixels}}
  notes-hashing: {{dataset: notes, backbone: hashing}}
heads:
  centroid: {{}}
"""
STORES = ("photos-pixels", "notes-hashing")


@pytest.fixture
def project(s3, tmp_path, monkeypatch):
    """Work in a project of this name, whose raw data lie at `raw`."""

    def made(name: str, raw: object) -> Path:
        folder = tmp_path / name
        if not folder.exists():
            folder.mkdir()
            (folder / "params.yaml").write_text(PARAMS.format(raw=raw))
        monkeypatch.chdir(folder)
        return folder

    make_raw_data(tmp_path / "raw")
    s3.put(tmp_path / "raw", "raw")
    return made


def make_raw_data(raw: Path) -> None:
    """12 pictures and as many notes."""
    for number in range(12):
        path = raw / "photos" / ("bright", "dark")[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 9), 9 * number + 100 * (1 - number % 2)).save(path)
    lines = [f"{('good', 'bad')[number % 2]} thing {number},{('plus', 'minus')[number % 2]}" for number in range(12)]
    (raw / "notes.csv").write_text("\n".join(["text,label", *lines]) + "\n")


def run() -> None:
    for stage, key in (
        ("check", None), ("manifest", "photos"), ("manifest", "notes"), ("fetch", "pixels"), ("fetch", "hashing"),
        ("extract", "photos-pixels"), ("extract", "notes-hashing"),
    ):  # fmt: skip
        assert main([stage, *filter(None, [key])]) == 0


def stores() -> dict[str, bytes]:
    return {f"{name}/{path.name}": path.read_bytes() for name in STORES for path in paths.store(name).iterdir()}


@pytest.mark.slow
def test_stores_from_a_bucket_are_those_from_a_disk(project, s3, tmp_path, monkeypatch, capsys):
    project("disk", tmp_path / "raw")
    run()
    on_disk = stores()
    s3.faults.share = 0.05
    monkeypatch.setenv("ICEBOX_CACHE", "s3://lab/shared")
    bucket = project("bucket", "s3://lab/raw")
    s3.faults.requests.clear()
    run()
    assert stores() == on_disk
    pictures = {path for method, path, _ in s3.faults.requests if method == "GET" and path.endswith(".png")}
    assert len(pictures) == 12
    assert (bucket / ".icebox/buckets/objects").is_dir()
    assert s3.faults.asked("GET", ".png") <= 12 + s3.faults.made.total()  # each once, but for faults
    project("another", "s3://lab/raw")
    capsys.readouterr()
    run()
    assert stores() == on_disk
    err = capsys.readouterr().err
    assert "12 items, 0 distinct ones passed through pixels" in err
    assert "12 items, 0 distinct ones passed through hashing" in err
    s3.faults.share = 0.0
    kept = [path for folder in (bucket, bucket.parent / "another") for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in kept if SECRET.encode() in path.read_bytes()]
    raw = json.loads(paths.dataset_summary("photos").read_text())
    assert raw["stamp"] == paths.raw_stamp("photos").read_text().strip()


def test_a_picture_that_came_into_the_bucket_changes_the_stamp(project, s3):
    project("bucket", "s3://lab/raw")
    assert main(["check"]) == 0
    before = [paths.raw_stamp(name).read_text() for name in ("photos", "notes")]
    s3.fs.pipe_file("lab/raw/photos/dark/new.png", s3.fs.cat_file("lab/raw/photos/dark/01.png"))
    assert main(["check"]) == 0
    after = [paths.raw_stamp(name).read_text() for name in ("photos", "notes")]
    assert before[0] != after[0]
    assert before[1] == after[1]


def test_prune_frees_this_machine_and_leaves_the_bucket(project, s3, monkeypatch, capsys):
    monkeypatch.setenv("ICEBOX_CACHE", "s3://lab/shared")
    project("one", "s3://lab/raw")
    run()
    shutil.rmtree(paths.STORES / "photos-pixels")
    assert main(["store", "prune", "--unfinished"]) == 0
    out = capsys.readouterr().out
    assert "removed 1 shards" in out
    assert "s3://lab/shared/shards keeps its shards, which others may need; --shared removes" in out
    assert len(s3.objects("shared")) == 2
    assert main(["store", "prune", "--unfinished", "--shared"]) == 0
    assert "s3://lab/shared/shards/" in capsys.readouterr().out
    assert len(s3.objects("shared")) == 1
    assert main(["store", "verify"]) == 0
    assert main(["extract", "photos-pixels"]) == 0
    assert len(s3.objects("shared")) == 2


def test_a_store_is_repaired_from_the_bucket(project, s3, monkeypatch, capsys):
    monkeypatch.setenv("ICEBOX_CACHE", "s3://lab/shared")
    project("one", "s3://lab/raw")
    run()
    before = stores()
    for path in [*paths.STORES.glob("photos-pixels/shard-*"), *Path(".icebox/shards").glob("*/shard-*")]:
        path.unlink()
    capsys.readouterr()
    assert main(["extract", "photos-pixels"]) == 0
    assert "0 distinct ones passed through pixels" in capsys.readouterr().err
    assert stores() == before


@pytest.mark.parametrize(
    "cache", ["s3://me:hunter22@lab/x", "ftp://lab/x", "s3://lab/x?token=hunter22", "s3://nobucket/x"]
)
def test_a_cache_that_cannot_be_is_one_line(project, s3, monkeypatch, capsys, cache, tmp_path):
    project("one", tmp_path / "raw")
    for stage, key in (("manifest", "notes"), ("fetch", "hashing")):
        assert main([stage, key]) == 0
    monkeypatch.setenv("ICEBOX_CACHE", cache)
    capsys.readouterr()
    assert main(["extract", "notes-hashing"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "hunter22" not in err


def test_a_folder_may_be_given_as_a_url(project, s3, monkeypatch, tmp_path):
    monkeypatch.setenv("ICEBOX_CACHE", f"file://{tmp_path}/lab")
    project("one", f"file://{tmp_path}/raw")
    run()
    assert len(list((tmp_path / "lab/shards").glob("*/shard-*.h5"))) == 2
    assert len(FeatureStore(paths.store("photos-pixels"))) == 12


def test_new_items_are_predicted_from_a_bucket_as_from_a_disk(project, s3, tmp_path, capsys, monkeypatch):
    project("one", tmp_path / "raw")
    run()
    assert main(["fit", "photos-pixels-centroid"]) == 0
    capsys.readouterr()
    answers = []
    for raw in (tmp_path / "raw", "s3://lab/raw"):
        for inputs in ([f"{raw}/photos"], [f"{raw}/photos/dark/01.png", f"{raw}/photos/bright/00.png"]):
            assert main(["predict", "photos-pixels/centroid", *inputs]) == 0
            answers.append(capsys.readouterr().out.replace(str(raw), "RAW"))
    assert answers[:2] == answers[2:]
    assert len(answers[0].splitlines()) == 13
    for wrong in ("s3://lab/none", "s3://me:hunter22@lab/raw/photos"):
        assert main(["predict", "photos-pixels/centroid", wrong]) == 1
        err = capsys.readouterr().err
        assert "hunter22" not in err
        assert err.count("\n") == 1


def test_doctor_names_the_bucket_and_the_copies(project, s3, monkeypatch, tmp_path):
    monkeypatch.setenv("ICEBOX_CACHE", "s3://lab/shared")
    monkeypatch.setenv("ICEBOX_CACHE_BYTES", "5G")
    project("one", tmp_path / "raw")
    [(name, value)] = doctor.shared_cache()
    assert name == "ICEBOX_CACHE"
    assert value.startswith("s3://lab/shared/shards, copies in ")
    assert "at most 5.0 GiB" in value
