"""The folder of an image: its Dockerfile read line by line, and its project served from there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from icebox.pipeline.cli.app import main
from tests.pipeline.serving.heads import fit_texts

SERVED = """
from starlette.testclient import TestClient
from icebox.pipeline.serving import app
from icebox.pipeline.serving.predictor import HeadPredictor
with TestClient(app.build(app.Service(HeadPredictor("notes/head")))) as client:
    print(client.post("/predict?nearest=1", json={"texts": ["so good"]}).text)
"""


def instructions(text: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile, lines that go on joined."""
    lines = [line for line in text.replace("\\\n", "").splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(" ", 1)) for line in lines]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("image")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        fit_texts()
        assert main(["serve", "notes/head", "--dockerfile", "image"]) == 0
    return project / "image"


def test_it_runs_as_no_root_asks_for_a_token_and_names_no_index(folder: Path) -> None:
    text = (folder / "Dockerfile").read_text()
    steps = instructions(text)
    assert steps[0][0] == "FROM"
    names = [name for name, _ in steps]
    assert set(names) <= {"FROM", "ARG", "RUN", "COPY", "ENV", "USER", "WORKDIR", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT"}
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert dict(steps)["USER"] == "icebox"
    entry = json.loads(dict(steps)["ENTRYPOINT"])
    assert entry[:5] == ["python", "-m", "icebox", "serve", "notes/head"]
    assert entry[entry.index("--host") + 1] == "0.0.0.0"  # which the command refuses without a token
    check = json.loads(dict(steps)["HEALTHCHECK"].partition("CMD ")[2])
    assert check[:2] == ["python", "-c"]
    compile(check[2], "check", "exec")
    assert not re.search("https?://(?!127)", text + (folder / "requirements.txt").read_text())
    for name, rest in steps:
        if name == "COPY":
            source = next(word for word in rest.split() if not word.startswith("--"))
            assert (folder / source).exists()


def test_packages_are_pinned_and_dvc_stays_away(folder: Path) -> None:
    lines = (folder / "requirements.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[a-z0-9._-]+==[0-9][0-9a-z.]*", line) for line in lines)
    names = {line.partition("==")[0] for line in lines}
    assert {"torch", "scikit-learn", "starlette", "uvicorn", "python-multipart", "prometheus-client"} <= names
    assert "dvc" not in names


@pytest.mark.slow
def test_its_project_is_served_by_its_own_icebox(folder: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", SERVED],
        cwd=folder / "project",
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    (item,) = json.loads(done.stdout)["items"]
    assert item["label"] == "plus"
    assert set(item["nearest"][0]) == {"id", "label", "distance"}  # raw data stayed away


def test_options_of_serve_go_into_the_image(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    options = ["--no-train", "--batch-size", "8", "--wait-ms", "0.5", "--allow-host", 'a"b', "--trust"]
    assert main(["serve", "notes/head", "--dockerfile", "tuned", *options]) == 0
    entry = json.loads(dict(instructions(Path("tuned/Dockerfile").read_text()))["ENTRYPOINT"])
    assert entry[-len(options) :] == options
    assert not Path("tuned/project/data/stores").exists()  # nothing of train goes along


@pytest.mark.parametrize(
    "options", [["--sketch", "x.sketch"], ["--host", "0.0.0.0"], ["--port", "9000"], ["--token-file", "t"]]
)
def test_options_that_no_image_can_have_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys, options: list[str]
) -> None:
    monkeypatch.chdir(folder.parent)
    assert main(["serve", "notes/head", "--dockerfile", "other", *options]) == 1
    assert f"leave out {options[0]}" in capsys.readouterr().err
    assert not Path("other").exists()


def test_nothing_is_written_over(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(folder.parent)
    assert main(["serve", "notes/head", "--dockerfile", "image"]) == 1
    assert "expected a new or an empty folder" in capsys.readouterr().err
