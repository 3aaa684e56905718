import json

import pytest

from icebox.features import files
from icebox.features.datasets.csv_text import Source
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


@pytest.mark.parametrize("file", ["dvc.yaml", "params.schema.json", "params.yaml"])
def test_where_it_ends_before_a_file_the_next_one_makes_the_whole_project(project, tmp_path, monkeypatch, file):
    write_text = files.write_text

    def write_until(target, text):
        if target.name == file:
            raise KeyboardInterrupt
        write_text(target, text)

    arguments = ["init", str(tmp_path / "again/flowers"), "--images", str(tmp_path / "photos")]
    with monkeypatch.context() as patch:
        patch.setattr(files, "write_text", write_until)
        assert main(arguments) == 130
    assert main(arguments) == 0
    made = {path.name: path.read_bytes() for path in (tmp_path / "again/flowers").iterdir() if path.is_file()}
    assert made == {path.name: path.read_bytes() for path in project.iterdir() if path.is_file()}


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


# --- tables of texts: what init writes can be read, or it says what to give instead


@pytest.mark.parametrize(
    ("table", "options", "settings"),
    [
        ("text,label\na,x\nb,y\n", [], {"text": "text", "label": "label"}),
        ('"0","1","@you"\n"4","2","no"\n', ["--text", "2", "--label", "0"], {"text": 2, "label": 0, "header": False}),
        ("0,1\nx,a\ny,b\n", ["--text", "1", "--label", "0"], {"text": "1", "label": "0"}),  # pandas names columns so
        ("café,x\nthé,y\n", ["--text", "0", "--label", "1", "--encoding", "latin-1"],
         {"text": 0, "label": 1, "header": False, "encoding": "latin-1"}),
    ],
    ids=["by name", "no header", "numbers as names", "no header, in latin-1"],
)  # fmt: skip
def test_init_reads_a_table_as_the_options_say(tmp_path, table, options, settings):
    (tmp_path / "t.csv").write_bytes(table.encode("latin-1"))
    assert main(["init", str(tmp_path / "p"), "--texts", str(tmp_path / "t.csv"), *options]) == 0
    entry = loader.load(tmp_path / "p/params.yaml").datasets["p"]
    assert entry.parameters == {"path": str(tmp_path / "t.csv")} | settings
    assert len(list(Source(**entry.parameters).items())) == 2


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ("text,topic\na,x\n", [], "has no column 'label', named by `label`; there are: text, topic"),
        ('"0","0","hi"\n', [], "numbers, from 0, where the first line is an item already"),
        ('"0","0","hi"\n', ["--text", "3", "--label", "0"], "has no column 3, named by `text`; there are: 0 to 2"),
        ("text,label\ncafé,x\n", [], "--encoding"),
        ("text,label\ncafé,x\n", ["--encoding", "latin-one"], "latin-one"),
    ],
    ids=["another column", "no header", "too few columns", "another encoding", "no encoding"],
)
def test_init_names_the_option_that_a_table_needs_and_writes_nothing(tmp_path, capsys, table, options, message):
    (tmp_path / "t.csv").write_bytes(table.encode("latin-1"))
    assert main(["init", str(tmp_path / "p"), "--texts", str(tmp_path / "t.csv"), *options]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --texts: ")
    assert message in line
    assert not (tmp_path / "p").exists()
