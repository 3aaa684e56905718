import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from icebox.features import compat
from icebox.pipeline.cli import doctor
from icebox.pipeline.cli.app import main

PARAMS = """\
datasets: {digits: {}}
backbones: {pixels: {}, hashing: {}}
stores:
  digits-pixels: {dataset: digits, backbone: pixels}
heads: {logreg: {}}
"""


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(PARAMS)
    return tmp_path


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(*arguments: object, **keywords: object) -> None:
        raise AssertionError("nobody asked for the network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


def rows(text: str) -> dict[str, str]:
    """The printed table."""
    return {name.strip(): value.strip() for name, _, value in (line.partition("  ") for line in text.splitlines())}


def test_a_bug_reports_table_is_printed_without_the_network(project, capsys):
    (project / "data/backbones/pixels").mkdir(parents=True)
    (project / "data/backbones/pixels/settings.json").touch()
    assert main(["doctor"]) == 0
    table = rows(capsys.readouterr().out)
    assert {*doctor.PACKAGES, "Python", "processor", "cores", "memory", "free disk here"} <= table.keys()
    assert table["precision: auto"] in ("float32", "bfloat16")
    assert table["folder"] == str(project)
    assert table["project"] == "params.yaml, but no dvc.yaml"
    assert table["params.yaml"] == "valid"
    assert table["weights of pixels"] == "data/backbones/pixels"
    assert "weights of hashing" not in table
    assert table["hub"].startswith("not asked")


def test_a_shared_cache_and_a_device_that_are_set_are_rows(project, capsys, monkeypatch):
    monkeypatch.setenv("ICEBOX_CACHE", str(project / "lab/cache"))
    (project / "params.yaml").write_text(PARAMS + "run: {device: cpu}\n")
    assert main(["doctor"]) == 0
    table = rows(capsys.readouterr().out)
    assert table["ICEBOX_CACHE"].startswith(str(project / "lab/cache"))
    assert table["ICEBOX_CACHE"].endswith(" GiB")
    assert table["run.device"] == "cpu"


def test_a_device_that_is_not_here_is_a_problem(project, capsys, monkeypatch):
    monkeypatch.setenv("ICEBOX_DEVICE", "cuda:99")
    assert main(["doctor"]) == 1
    assert "problem: ICEBOX_DEVICE: there is no device 'cuda:99' here; there are: auto" in capsys.readouterr().err


def test_weights_that_are_not_fetched_and_wrong_params_are_said_and_no_problem(project, capsys):
    assert rows("\n".join("  ".join(row) for row in doctor.project()))["weights of pixels"] == "not there yet"
    (project / "params.yaml").write_text(PARAMS.replace("heads: {logreg", "heads: {logrge"))
    assert ("params.yaml", "not valid: heads.logrge: no head named 'logrge'; did you mean 'logreg'?") in [
        *doctor.project()
    ]


def test_a_folder_without_a_project_is_one_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [*doctor.project()] == [("project", "none here: no params.yaml")]


def test_dvcs_links_are_tried(project):
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], cwd=project, check=True)
    assert doctor.dvc_links() == "none yet; `icebox run` makes it"
    (project / ".dvc/cache/files/md5").mkdir(parents=True)
    subprocess.run([sys.executable, "-m", "dvc", "config", "cache.type", "symlink"], cwd=project, check=True)
    before = sorted(path.name for path in project.iterdir())
    links = doctor.dvc_links()
    assert links.startswith("cache.type symlink; works here: ")
    assert "hardlink, symlink, copy" in links
    assert sorted(path.name for path in project.iterdir()) == before


def test_a_broken_pair_of_torch_and_torchvision_is_a_problem(project, monkeypatch, capsys):
    def broken() -> None:
        raise RuntimeError("operator torchvision::nms does not exist\nmore")

    monkeypatch.setattr(compat, "torchvision", broken)
    assert main(["doctor"]) == 1
    printed = capsys.readouterr()
    assert rows(printed.out)["torch with torchvision"] == "broken"
    [line] = printed.err.splitlines()
    assert line.startswith(
        "problem: torch and torchvision don't work together (operator torchvision::nms does not exist)"
    )


def test_a_pair_of_different_builds_that_works_is_no_problem(monkeypatch):
    problems: list[str] = []
    monkeypatch.setattr(compat, "is_broken", lambda compiled: True)
    monkeypatch.setattr(compat, "torchvision", lambda: None)
    assert doctor.torch_pair(problems).startswith("of different builds")
    assert problems == []


def test_a_folder_that_cant_be_written_is_a_problem(project, monkeypatch, capsys):
    def refuse(**keywords: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor.tempfile, "NamedTemporaryFile", refuse)
    problems: list[str] = []
    assert doctor.folder(problems).endswith("not writable")
    assert problems == [f"{project}: can't be written to (Permission denied)"]


def test_the_hub_is_asked_when_told(monkeypatch):
    def unreachable(*arguments: object, **keywords: object) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    assert doctor.hub().endswith("not in reach (no route)")


def test_the_command_line_loads_no_torch():
    code = "import sys; import icebox.pipeline.cli.app; print(sorted({'torch', 'dvc', 'pydantic'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code]) == b"[]\n"
