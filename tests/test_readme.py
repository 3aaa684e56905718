"""The README's commands run as they stand, in a clone whose pretraining and texts are cut short."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from ruamel.yaml import YAML

from icebox.pipeline.config import loader
from tests.conftest import PROJECT, STAGE_PYTHON, Project

README = (PROJECT / "README.md").read_text()
NOT_HERE = {"make test", "icebox serve digits-glyphnet/logreg"}  # this is it, and it does not end by itself
SHORTER = {
    "  digits-pixels: {dataset: digits, backbone: pixels}\n": "",
    "  docstrings-hashing: {dataset: docstrings, backbone: hashing}\n": "",
    "glyphnet: {data: none, steps: 300}": "glyphnet: {data: none, steps: 50, batch_size: 16, width: 4}",
    "docstrings: # first": "docstrings: # max_per_library\n    max_per_library: 60 # first",
    "heads: [logreg, linear_svm, knn, lightgbm, mlp]": "fit: {seeds: 1}\nheads: [logreg, mlp]",
}


def blocks(language: str) -> list[str]:
    """The README's code blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Project:
    """A git clone of this checkout with the environment in place of an install, and less to do."""
    folder = tmp_path_factory.mktemp("readme") / "icebox"
    tracked = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard"], cwd=PROJECT, text=True)
    for name in tracked.splitlines():
        if (PROJECT / name).is_file() or (PROJECT / name).is_symlink():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, folder / name, follow_symlinks=False)  # with its age, which make goes by
    if not Path(sys.prefix, "installed").exists():
        pytest.skip("runs in the environment that make installed")
    (folder / ".venv").symlink_to(sys.prefix)
    project = Project(folder)
    for old, new in SHORTER.items():
        project.replace("params.yaml", old, new)
    for command in (
        "init -q",
        "config user.email test@example.org",
        "config user.name test",
        "add -A",
        "commit -qm start",
    ):
        project.run("git", *command.split())
    Image.new("L", (28, 28)).save(folder / "photo.png")
    return project


@pytest.mark.slow
def test_the_shell_commands_run_in_their_order(clone, tmp_path, stage_python):
    script = "".join(block for block in blocks("sh") if block.strip() not in NOT_HERE)
    assert "make\n" in script
    script = script.replace("/where/your/team/looks", str(tmp_path / "shelf"))
    places = f"{os.environ[STAGE_PYTHON]}:{clone.folder}/.venv/bin"
    script = script.replace(". .venv/bin/activate", f'export PATH="{places}:$PATH"')
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=clone.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "The report: " in done.stdout
    assert "Return the inverse of a matrix.," in done.stdout
    assert '{"label": "' in done.stdout
    assert (clone.folder / "reports/index.html").exists()


def test_the_examples_in_yaml_are_valid_params(tmp_path):
    yaml = YAML(typ="safe", pure=True)
    params = yaml.load((PROJECT / "params.yaml").read_text())
    for block in blocks("yaml"):
        for section, entries in yaml.load(block).items():
            params[section] = (params.get(section) or {}) | entries
    with (tmp_path / "params.yaml").open("w") as stream:
        yaml.dump(params, stream)
    config = loader.load(tmp_path / "params.yaml")
    assert {"flowers-resnet18", "notes-minilm"} <= set(config.stores)
    assert {"digits-glyphnet/few"} == set(config.inputs)


def test_the_tree_names_only_what_exists():
    tree = next(block for block in re.findall(r"```\n(.*?)```", README, flags=re.DOTALL))
    made = {"data/raw/", "data/stores/STORE/", "results/", "reports/index.html"}
    folder = ""
    for line in tree.splitlines():
        for name in re.findall(r"(?:^ *|  )([\w./]+/?|[A-Z]\w+)(?=  )", line):
            if not line.startswith(" "):
                folder = name
            path = PROJECT / (folder + name if line.startswith(" ") else name)
            assert name in made or path.exists(), name
