"""A copy of this project with tiny data, for tests that run it as its users do."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import stage_server
from tests.s3 import s3, s3_server  # noqa: F401  (fixtures)

PROJECT = Path(__file__).parents[1]
os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the commands do, before torch is loaded: pipeline/cli/app.py
# some machines that run tests set it; each of the hundreds of stages would then translate this project's files anew
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
STAGE_PYTHON = "ICEBOX_TEST_STAGE_PYTHON"  # a folder with a `python` for stages, where a test has asked for it
NEEDED = ("icebox", "features", "pipeline", "dvc.yaml", ".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore")
PARAMS = """
datasets:
  photos: {source: image_folder, path: raw/photos}
  notes: {source: csv_text, path: raw/notes.csv, text: text, label: label}
backbones:
  pixels: {size: 4}
  hashing: {dimensions: 64}
pretrain:
  glyphnet: {data: none, steps: 3, batch_size: 8, width: 4}
stores:
  photos-glyphnet:
    {dataset: photos, backbone: glyphnet, precision: float32, stored: float32}
  photos-pixels: {dataset: photos, backbone: pixels}
  notes-hashing:
    dataset: notes
    backbone: hashing
    input: {labels_per_class: [1, 5], class_weights: balanced}
inputs:
  photos-pixels/few: {labels_per_class: 5}
heads:
  logreg: {C: [0.1, 1.0]}
  knn: {n_neighbors: 3}
ensembles: {photos-pixels: {}}
unfreeze:
  photos-tuned: {store: photos-glyphnet, start: logreg, epochs: 1, free: last 1}
run: {batch_size: 16}
fit: {choose: accuracy, seed: 0}
"""


@dataclass(frozen=True)
class Project:
    """A folder to run commands in."""

    folder: Path

    def run(self, *command: str, fails: bool = False) -> str:
        """stdout and stderr of a command that must succeed, or must not."""
        # the commands say `python` and `dvc`, as on a machine with the environment active
        places = [os.environ.get(STAGE_PYTHON, ""), str(Path(sys.executable).parent), os.environ["PATH"]]
        environment = os.environ | {"PATH": os.pathsep.join(filter(None, places))}
        done = subprocess.run(
            command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert (done.returncode != 0) == fails, done.stdout
        return done.stdout

    def ran(self, *command: str) -> set[str]:
        """The stages that a dvc command ran."""
        lines = self.run(*command).splitlines()
        return {line.split("'")[1] for line in lines if line.startswith("Running stage")}

    def replace(self, file: str, old: str, new: str) -> None:
        """Edit a file."""
        path = self.folder / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def copy(self, to: Path) -> "Project":
        """This project as it is, elsewhere."""
        shutil.copytree(self.folder, to, symlinks=True)
        return Project(to)


def make_raw_data(raw: Path, *, seed: int = 0) -> None:
    """60 pictures, bright or dark, and 60 notes that hold "good" or "bad"; another seed, other pictures."""
    random = np.random.default_rng(seed)
    for i in range(60):
        label = ("bright", "dark")[i % 2]
        values = random.integers(0, 100, (9, 9), np.uint8) + np.uint8(0 if i % 2 else 150)
        path = raw / "photos" / label / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(path)
    lines = [f"{('good', 'bad')[i % 2]} thing number {i},{('plus', 'minus')[i % 2]}" for i in range(60)]
    (raw / "notes.csv").write_text("\n".join(["text,label", *lines]) + "\n")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The two longest files first, one for each worker: begun last, one would leave the other idle for minutes."""
    order = {"test_end_to_end.py": 0, "test_readme.py": 1}
    items.sort(key=lambda item: order.get(item.path.name, 2))


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory) -> Iterator[None]:
    """Nothing is left in the cache folder of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def stage_python(tmp_path_factory) -> Iterator[None]:
    """Stages of projects run as children of a process that has loaded their libraries already."""
    folder, server = stage_server.commands(tmp_path_factory.mktemp("stages"))
    os.environ[STAGE_PYTHON] = str(folder)
    yield
    del os.environ[STAGE_PYTHON]
    server.kill()
    server.communicate()


@pytest.fixture(scope="session")
def finished(tmp_path_factory, stage_python) -> Project:
    """A clone in git whose pipeline has run once. Copy it before changing it."""
    folder = tmp_path_factory.mktemp("project") / "icebox"
    for name in NEEDED:
        source, target = PROJECT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    (folder / "params.yaml").write_text(PARAMS)
    make_raw_data(folder / "raw")
    project = Project(folder)
    project.run("git", "init", "-q")
    project.run("git", "config", "user.email", "test@example.org")
    project.run("git", "config", "user.name", "test")
    project.run("dvc", "repro")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "ran")
    return project
