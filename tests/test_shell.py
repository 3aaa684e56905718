"""Names in params.yaml are a stranger's, and dvc.yaml puts them into commands: no name becomes a command of its own.

Each project has once been whole: all that the paths of a hostile name could lead to (stamps, stores, heads) is there.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest
from ruamel.yaml import YAML

from icebox.pipeline.cli.app import main
from icebox.pipeline.project import paths
from tests.conftest import PROJECT

GOOD: dict[str, Any] = {
    "datasets": {"notes": {"source": "csv_text", "path": "notes.csv", "text": "text", "label": "label"}},
    "backbones": {"hashing": {"dimensions": 8}},
    "pretrain": {"glyphnet": {"data": "none", "steps": 1}},
    "stores": {"notes-hashing": {"dataset": "notes", "backbone": "hashing"}},
    "inputs": {"notes-hashing/few": {"labels_per_class": 1}},
    "heads": {"logreg": {}, "knn": {}},
    "ensembles": {"notes-hashing": {}},
    "unfreeze": {},
    "generate": {},
}
# how a command could follow the name: {} is the command, GOOD the name of an entry that is there
WAYS = (
    "a;{};/../GOOD", "$({})/../GOOD", "`{}`/../GOOD", "a'\n{}\n'/../GOOD", 'a"\n{}\n"/../GOOD', "a&&{}&&b/../GOOD",
    "a|{}|b/../GOOD", "GOOD;{}", "GOOD+GOOD;{};/../GOOD", "GOOD/../GOOD;{};/../GOOD", "-h;{};#",
    "a;{};/./../GOOD/.", "a\t;{};/../GOOD", "GOOD\n{}", "\n{}\n", "GOOD/x;{};/../few", "x y;{}", "*;{}", "[;{};n]otes",
)  # fmt: skip
CREATE = "touch pwned"
# one process for all commands: DVC takes a second to load
DVC = "import sys, dvc.cli\nfor line in sys.stdin: dvc.cli.main(line.split())"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with all that its stages would have left, the contents apart."""
    folder = tmp_path_factory.mktemp("whole")
    shutil.copy(PROJECT / "dvc.yaml", folder)
    shutil.copytree(PROJECT / ".dvc", folder / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
    (folder / "notes.csv").write_text("text,label\na,x\nb,y\n")
    write(folder, GOOD)
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main(["check"]) == 0
    finally:
        os.chdir(before)
    store, head = "notes-hashing", "logreg"
    for path in (
        paths.manifest("notes"), paths.manifest_sample("notes"), paths.findings("notes"),
        paths.dataset_summary("notes"),
        paths.store(store) / "index.h5", paths.backbone("hashing") / "x", paths.backbone("glyphnet") / "x",
        paths.bundle(store, head), paths.card(store, head), paths.details(store, head), paths.metrics(store, head),
        paths.predictions(store, head), paths.feature_map(store), paths.look(store),
    ):  # fmt: skip
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("{}\n")
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (["init", "-q"], ["add", "-A", "."], ["commit", "-qm", "whole"]):
        subprocess.run([*git, *command], cwd=folder, check=True, capture_output=True)
    return folder


def write(folder: Path, params: dict[str, Any]) -> None:
    YAML(typ="safe", pure=True).dump(params, folder / "params.yaml")


def run(folder: Path, *commands: str) -> str:
    """The output of dvc's commands, one after the other."""
    environment = os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(PROJECT), "DVC_NO_ANALYTICS": "true", "CORE_ANALYTICS": "false",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DVC], input="\n".join(commands), cwd=folder, env=environment,
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    return done.stdout


def hostile(section: str, way: str) -> dict[str, Any]:
    """The good params with one more entry, like the first one, whose name holds a command, and references to it."""
    good = next(iter(GOOD[section]), "notes-hashing")
    name = way.format(CREATE).replace("GOOD", good)
    entry = GOOD[section].get(good) or {
        "store": "notes-hashing",
        "start": "logreg",
        "judge": "glyphnet",
        "data": "none",
    }
    changed = GOOD | {section: {**GOOD[section], name: entry}}
    kind = {"datasets": "dataset", "backbones": "backbone", "pretrain": "backbone"}.get(section)
    if kind:
        store = GOOD["stores"]["notes-hashing"] | {kind: name}
        changed |= {"stores": {**GOOD["stores"], "other": store}}
    return changed


CASES = [(section, way) for section in GOOD for way in WAYS]
STAGES = {  # by the section whose names they carry
    "datasets": ["manifest"], "backbones": ["fetch"], "pretrain": ["pretrain"], "generate": ["generate"],
    "stores": ["extract", "look"], "inputs": ["fit-input"], "heads": ["fit"], "ensembles": ["ensemble"],
    "unfreeze": ["unfreeze"],
}  # fmt: skip


@pytest.mark.parametrize(("section", "way"), Random(0).sample(CASES, int(os.environ.get("ICEBOX_SHELL_CASES", 2))))
@pytest.mark.slow
def test_a_name_never_runs_a_command(section: str, way: str, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    shutil.copytree(whole, folder, symlinks=True)
    write(folder, hostile(section, way))
    # -f runs a stage though what it depends on is missing, -s though the check has not run
    output = run(folder, "repro -k", *(f"repro -f -s {stage}" for stage in STAGES[section]))
    assert not list(folder.rglob("pwned")), output
    assert "ERROR" in output


def test_a_name_given_on_the_command_line_never_runs_a_command(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    shutil.copytree(whole, folder, symlinks=True)
    names = ["+heads.a;touch${IFS}pwned;={}", "+stores.$(touch${IFS}pwned)={dataset:notes,backbone:hashing}"]
    output = run(folder, *(f"exp run -S {name}" for name in names), *(f"exp run look -S {name}" for name in names))
    assert not list(folder.rglob("pwned")), output


def test_these_names_would_run_commands_if_they_stood_in_commands(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    shutil.copytree(whole, folder, symlinks=True)
    text = (folder / "dvc.yaml").read_text()
    assert "icebox look\n" in text
    (folder / "dvc.yaml").write_text(text.replace("icebox look\n", "icebox look ${key}\n"))
    write(folder, hostile("stores", WAYS[0]))
    output = run(folder, "repro -f -s look")
    assert list(folder.rglob("pwned")), output
