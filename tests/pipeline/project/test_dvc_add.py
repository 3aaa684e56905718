"""`dvc add` of raw data where the README puts it: git lets the .dvc file through, links into DVC's cache are read."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from icebox.features import files
from icebox.features.manifest import manifest
from icebox.pipeline.cli.app import main
from icebox.pipeline.inference.reading.new_items import Reading
from icebox.pipeline.project import init, paths

PARAMS = """\
datasets:
  f: {source: image_folder, path: data/raw/f, split: {val: 0.25, test: 0.25}}
  notes: {source: csv_text, path: data/raw/deeper/notes.csv, label: label, split: {val: 0.25, test: 0.25}}
backbones: {pixels: {}}
stores:
  f-pixels: {dataset: f, backbone: pixels}
heads: {logreg: {}}
"""


def dvc(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def ignored(*names: str) -> set[str]:
    """Those that git would not add."""
    done = subprocess.run(["git", "check-ignore", "--no-index", *names], stdout=subprocess.PIPE, text=True)
    return set(done.stdout.split())


def draw(path: Path, color: tuple[int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    Image.new("RGB", (4, 4), color).save(path)


@pytest.fixture(scope="module")
def added(tmp_path_factory) -> Path:
    """A new project in git whose raw data DVC keeps, as links."""
    folder = tmp_path_factory.mktemp("added")
    init.create(folder, params=PARAMS, write_schema=lambda _: None)
    for i in range(8):
        draw(folder / f"data/raw/f/{'ab'[i % 2]}/{i}.png", (i, 0, 0))
    (folder / "data/raw/deeper").mkdir()
    notes = "".join(f"note {i},{'ab'[i % 2]}\n" for i in range(8))
    (folder / "data/raw/deeper/notes.csv").write_text(f"text,label\n{notes}")
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").write_text("[cache]\n    type = symlink\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        subprocess.run(["git", "init", "-q"], check=True)
        dvc("add", "data/raw/f", "data/raw/deeper/notes.csv")
    return folder


@pytest.fixture
def project(added, monkeypatch) -> Path:
    monkeypatch.chdir(added)
    return added


def test_git_takes_the_dvc_files_and_nothing_else_of_data(project):
    kept = ["data/raw/f.dvc", "data/raw/deeper/notes.csv.dvc"]
    left_out = [
        "data/raw/f/a/0.png",
        "data/raw/deeper/notes.csv",
        "data/raw/f/b",
        "data/stores/s/index.h5",
        "data/plan",
    ]
    assert ignored(*kept, *left_out) == set(left_out)
    status = subprocess.run(["git", "status", "--porcelain", "-uall"], stdout=subprocess.PIPE, text=True).stdout
    assert {line[3:] for line in status.splitlines() if "data/" in line} <= set(kept)


def test_the_repository_itself_ignores_the_same():
    repository, template = (Path(__file__).parents[3] / ".gitignore"), init.template("gitignore")
    lines = [line for line in template.splitlines() if "data" in line]
    assert [line for line in repository.read_text().splitlines() if "data" in line] == lines


def test_links_into_the_projects_own_cache_are_inside(project):
    assert Path("data/raw/f/a/0.png").is_symlink()
    assert Path("data/raw/deeper/notes.csv").is_symlink()
    assert main(["manifest", "f"]) == 0
    assert main(["manifest", "notes"]) == 0
    assert len(manifest.read(paths.manifest("f"))) == 8


@pytest.mark.parametrize("source", ["image_folder", ""])
def test_a_head_reads_new_items_behind_such_links(project, source, monkeypatch):
    monkeypatch.setattr(files.LinkTargets, "find", tuple)  # as in a process that has opened no dataset yet
    reading = Reading(modality="image", source=source, parameters={"path": "elsewhere"} if source else {})
    assert len([item.read() for item in reading.items(["data/raw/f"])]) == 8


def test_what_dvc_has_added_anew_is_another_stamp(project):
    def stamp() -> str:
        assert main(["check"]) == 0
        return paths.raw_stamp("f").read_text()

    before = stamp()
    draw(Path("data/raw/f/a/0.png"), (200, 0, 0))
    changed = stamp()
    dvc("add", "data/raw/f")
    assert Path("data/raw/f/a/0.png").is_symlink()
    assert len({before, changed}) == 2
    assert stamp() == changed


@pytest.mark.parametrize("target", ["elsewhere/x.png", ".dvc/config", ".dvc/cache/../tmp/x.png"])
def test_links_that_lead_elsewhere_stay_outside(project, target, tmp_path, capsys):
    goal = project / target if target.startswith(".dvc") else tmp_path / target
    if not goal.exists():
        draw(goal, (1, 2, 3))
    link = Path("data/raw/f/a/link.png")
    link.symlink_to(goal)
    try:
        assert main(["manifest", "f"]) == 1
    finally:
        link.unlink()
    assert "leads out of the folder" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["absolute", "relative"])
def test_a_cache_that_is_configured_elsewhere_is_the_projects_too(tmp_path, monkeypatch, place):
    shared, folder = tmp_path / "shared", tmp_path / "project"
    init.create(folder, params=PARAMS, write_schema=lambda _: None)
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").write_text(
        f"[cache]\n    dir = {shared if place == 'absolute' else '../../shared'}\n    type = symlink\n"
    )
    for i in range(8):
        stored, link = shared / f"files/md5/0{i}/1234", folder / f"data/raw/f/{'ab'[i % 2]}/{i}.png"
        draw(link, (i, 0, 0))
        stored.parent.mkdir(parents=True)
        link.rename(stored)
        link.symlink_to(stored)
    monkeypatch.chdir(folder)
    assert main(["manifest", "f"]) == 0
