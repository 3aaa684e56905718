"""A project of one's own, as a newcomer makes it: init, run, and what each says where it can't."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from icebox.features.errors import IceboxError
from icebox.pipeline.cli import project
from icebox.pipeline.cli.app import main
from icebox.pipeline.config import loader
from icebox.pipeline.project import init
from tests.conftest import PROJECT, make_raw_data


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder with raw data beside which a project is made."""
    monkeypatch.chdir(tmp_path)
    make_raw_data(tmp_path / "raw")
    return tmp_path


def test_init_for_images_writes_params_that_check_accepts(folder, monkeypatch):
    assert main(["init", "flowers", "--images", "raw/photos", "--backbone", "squeezenet1_1"]) == 0
    monkeypatch.chdir("flowers")
    config = loader.load()
    assert list(config.stores) == ["flowers-squeezenet1_1", "flowers-pixels"]
    assert config.datasets["flowers"].parameters["path"] == str(folder / "raw/photos")
    assert config.backbones["squeezenet1_1"].parameters == {"model": "squeezenet1_1", "weights": "IMAGENET1K_V1"}
    assert (Path("dvc.yaml").read_text(), Path(".dvcignore").read_text()) == (
        (PROJECT / "dvc.yaml").read_text(),
        (PROJECT / ".dvcignore").read_text(),
    )
    assert Path("plugins/heads").is_dir()


def test_the_floor_alone_is_one_store(folder, monkeypatch):
    assert main(["init", "p", "--images", "raw/photos", "--backbone", "pixels"]) == 0
    monkeypatch.chdir("p")
    assert list(loader.load().stores) == ["p-pixels"]


def test_data_and_weights_inside_the_project_are_named_relative_to_it(folder, monkeypatch):
    make_raw_data(folder / "mine/data/raw")
    (folder / "mine/net.pth").write_bytes(b"")
    options = ["--images", "mine/data/raw/photos", "--backbone", "resnet18", "--weights", "mine/net.pth"]
    assert main(["init", "mine", *options]) == 0
    monkeypatch.chdir("mine")
    config = loader.load()
    assert config.datasets["mine"].parameters["path"] == "data/raw/photos"
    assert config.backbones["resnet18"].parameters["weights"] == "net.pth"


def test_init_for_texts_names_columns_and_a_text_encoder(folder, monkeypatch):
    options = ["--texts", "raw/notes.csv", "--text", "text", "--label", "label", "--backbone", "someone/some-bert"]
    assert main(["init", "my notes!", *options]) == 0
    monkeypatch.chdir("my notes!")
    config = loader.load()
    assert list(config.stores) == ["my_notes-some_bert", "my_notes-hashing"]
    assert config.backbones["some_bert"].parameters == {"weights": "hub:someone/some-bert"}


@pytest.mark.parametrize("recipe", ["mnist", "pneumonia"])
def test_init_with_a_recipe_copies_it(folder, recipe):
    assert main(["init", "course", "--recipe", recipe]) == 0
    text = (PROJECT / f"recipes/{recipe}.yaml").read_text()
    assert (folder / "course/params.yaml").read_text() == init.EDITORS_LINE + text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give one of --images PATH, --texts FILE and --recipe NAME"),
        (["--images", "raw/photos", "--recipe", "mnist"], "give one of --images"),
        (["--images", "raw/phottos"], "expected a folder of class folders, found no folder there"),
        (["--texts", "raw/note.csv"], "expected a table"),
        (["--recipe", "mnits"], "no recipe named 'mnits'; did you mean 'mnist'?"),
        (["--images", "raw/photos", "--backbone", "glyphnet"], "--backbone glyphnet: is trained here, from nothing"),
        (["--update"], "not found; name a project's folder, or make one: icebox init DIR"),
    ],
)
def test_what_init_can_not_do_is_one_line_and_leaves_no_project(folder, capsys, arguments, message):
    assert main(["init", "new", *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not (folder / "new/params.yaml").exists()


def test_init_leaves_a_project_that_is_there_alone(folder, capsys):
    assert main(["init", "p", "--recipe", "mnist"]) == 0
    (folder / "p/params.yaml").write_text("mine")
    assert main(["init", "p", "--recipe", "mnist"]) == 1
    assert "there is a project already" in capsys.readouterr().err
    assert (folder / "p/params.yaml").read_text() == "mine"


def test_update_renews_dvc_yaml_alone_and_keeps_the_old_one(folder, capsys):
    assert main(["init", "p", "--recipe", "mnist"]) == 0
    (folder / "p/dvc.yaml").write_text("old")
    (folder / "p/params.yaml").write_text("mine")
    assert main(["init", "p", "--update"]) == 0
    assert "renewed dvc.yaml" in capsys.readouterr().out
    assert (folder / "p/dvc.yaml").read_text() == (PROJECT / "dvc.yaml").read_text()
    assert (folder / "p/dvc.yaml.before").read_text() == "old"
    assert (folder / "p/params.yaml").read_text() == "mine"
    assert main(["init", "p", "--update"]) == 0
    assert "up to date" in capsys.readouterr().out


def test_run_outside_of_a_project_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run"]) == 1
    assert "params.yaml: not found" in capsys.readouterr().err


def without_network(params: Path) -> None:
    """Leave the floor alone: its features need no weights."""
    yaml = YAML(typ="safe", pure=True)
    values = yaml.load(params.read_text())
    values["backbones"] = {"pixels": {"size": 4}}
    values["stores"] = {"p-pixels": values["stores"]["p-pixels"]}
    values["heads"] = {"logreg": {"C": 1.0}, "majority": {}}
    with params.open("w") as stream:
        yaml.dump(values, stream)


MAJORITY = """
from sklearn.dummy import DummyClassifier

from icebox.pipeline.estimators.preprocessing import PreprocessedHead


def build(*, scale: str = "none"):
    return PreprocessedHead(DummyClassifier(), scale=scale)
"""


@pytest.mark.slow
def test_run_makes_the_report_without_git_with_a_head_of_ones_own_and_with_git_later(folder, monkeypatch, capfd):
    """Also beside folders of the user's that have the names of ours."""
    assert main(["init", "p", "--images", "raw/photos"]) == 0
    monkeypatch.chdir("p")
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    for name in ("features", "pipeline"):
        Path(name).mkdir()
        Path(name, "__init__.py").write_text("raise SystemExit('the wrong package')")
    Path("plugins/heads/majority.py").write_text(MAJORITY)
    without_network(Path("params.yaml"))
    run = [sys.executable, "-m", "icebox"]
    subprocess.run([*run, "run"], check=True)
    printed = capfd.readouterr().out
    assert "majority" in printed
    assert f"The report: {folder / 'p/reports/index.html'}" in printed
    assert Path("reports/index.html").exists()
    labels = subprocess.check_output([*run, "predict", "p-pixels/majority", str(folder / "raw/photos/dark")], text=True)
    assert len(labels.splitlines()) == 31
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run([*run, "run"], check=True)
    assert "Running stage 'fit" not in capfd.readouterr().out
    assert not project.without_scm(".dvc/config")


def test_what_dvc_refuses_is_one_line(monkeypatch):
    monkeypatch.setattr("sys.executable", shutil.which("false"))
    with pytest.raises(IceboxError, match="dvc init --quiet: failed, as DVC says above"):
        project.dvc("init", "--quiet")


def test_the_folder_of_a_new_project_can_be_pasted_into_a_shell(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("text,label\na,x\nb,y\n")
    name = "it's mine"
    assert main(["init", name, "--texts", "t.csv", "--backbone", "hashing"]) == 0
    assert f"    cd {shlex.quote(name)}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("lock", "changed"),
    [
        (None, False),
        ("stages:\n", False),
        ("    deps:\n    - path: params.yaml\n      hash: md5\n      md5: 5058f1af8388633f609cadb75a75dc9d\n", False),
        ("    deps:\n    - path: params.yaml\n      hash: md5\n      md5: 0058f1af8388633f609cadb75a75dc9d\n", True),
    ],
)
def test_a_run_knows_whether_its_params_are_those_of_the_run_before(lock, changed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not project.is_changed()
    (tmp_path / "params.yaml").write_text(".")
    if lock is not None:
        (tmp_path / "dvc.lock").write_text(lock)
    assert project.is_changed() == changed
