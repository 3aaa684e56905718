import json

import pytest

from icebox.pipeline.cli.app import main
from icebox.pipeline.config import loader


@pytest.fixture
def project(tmp_path):
    (tmp_path / "photos/rose").mkdir(parents=True)
    assert main(["init", str(tmp_path / "flowers"), "--images", str(tmp_path / "photos")]) == 0
    return tmp_path / "flowers"


def test_params_of_a_new_project_name_their_schema(project):
    assert (project / "params.yaml").read_text().startswith("# yaml-language-server: $schema=params.schema.json\n")
    assert json.loads((project / "params.schema.json").read_text())["required"] == ["datasets", "stores", "heads"]
    assert "params.schema.json" not in (project / ".gitignore").read_text()
    assert list(loader.load(project / "params.yaml").datasets) == ["flowers"]


def test_an_update_renews_the_schema(project, capsys):
    assert main(["init", str(project), "--update"]) == 0
    assert "up to date" in capsys.readouterr().out
    (project / "plugins/heads/jury.py").write_text("def build(*, votes: int = 3):\n    ...\n")
    assert main(["init", str(project), "--update"]) == 0
    assert capsys.readouterr().out == f"{project}: renewed params.schema.json\n"
    assert "heads.jury" in json.loads((project / "params.schema.json").read_text())["$defs"]


def test_the_schema_is_printed_or_written(project, tmp_path, capsys):
    assert main(["schema"]) == 0
    printed = capsys.readouterr().out
    assert main(["schema", "--out", str(tmp_path / "schema.json")]) == 0
    assert capsys.readouterr().out == ""
    assert (tmp_path / "schema.json").read_text() == printed == (project / "params.schema.json").read_text()
