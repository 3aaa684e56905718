"""A stamp covers all code of ours that a stage can run, also behind packages, or it would hide a change."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from icebox.features import plugins
from icebox.pipeline.project import stamps
from icebox.pipeline.stages import check

PROJECT = Path(__file__).parents[3]
MODULES_OF_EACH_STAGE = """
import importlib, json, sys
loaded = {}
for stage in sys.argv[1:]:
    for name in [name for name in sys.modules if name.startswith("icebox")]:
        del sys.modules[name]  # libraries stay: loading torch for each stage would take a minute
    importlib.import_module(f"icebox.pipeline.stages.{stage}")
    loaded[stage] = [module.__file__ for name, module in sys.modules.items() if name.startswith("icebox.")]
print(json.dumps(loaded))
"""


def names(files) -> set[str]:
    return {path.name for path in files}


def test_a_stamp_changes_with_the_file_and_with_what_it_imports_of_ours():
    glyphnet = stamps.imported(PROJECT / "features/backbones/glyphnet.py")
    assert {"backbone.py", "layer_outputs.py", "glyphs.py", "decoding.py"} <= names(glyphnet)
    assert stamps.code_of(PROJECT / "features/plugins.py") != stamps.code_of(PROJECT / "features/errors.py")


def test_a_head_hangs_on_its_own_file_and_on_what_that_imports():
    shared = {"__init__.py", "preprocessing.py"}
    for head, more in (("gaussian_nb", set()), ("knn", {"classification.py"})):
        assert names(stamps.imported(PROJECT / f"pipeline/heads/{head}.py")) == shared | more


def test_imports_count_wherever_a_statement_can_stand():
    code = """
class A:
    async def f(self):
        async with a as b:
            import m1
        match b:
            case 1 if (lambda: 1)():
                import m2
            case _:
                for _ in b:
                    import m3
                else:
                    while b:
                        import m4
                    else:
                        import m5
try:
    if 1: import m6
    elif 2: import m7
    else: import m8
except (A, B):
    import m9
else:
    import m10
finally:
    import m11
try: pass
except* A: import m12
"""
    imports = [node for node in stamps.statements(ast.parse(code)) if isinstance(node, ast.Import)]
    assert sorted(int(node.names[0].name[1:]) for node in imports) == list(range(1, 13))


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    """Stage → the files of ours that importing it loads."""
    command = [sys.executable, "-c", MODULES_OF_EACH_STAGE, *check.stages()]
    printed = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True).stdout
    return dict(json.loads(printed))


@pytest.mark.parametrize("stage", [name for name in plugins.names("icebox.pipeline.stages") if name != "check"])
@pytest.mark.slow
def test_all_that_a_stage_imports_is_in_its_stamp(stage, loaded):
    closure = {path.resolve() for path in stamps.closure(PROJECT / f"pipeline/stages/{stage}.py")}
    assert len(loaded[stage]) > 3
    assert {Path(file).resolve() for file in loaded[stage]} <= closure


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """A project of ours in which `icebox.features.store` is a package that hands on a class of a module."""
    folder = tmp_path / "features/store"
    folder.mkdir(parents=True)
    (tmp_path / "features/__init__.py").write_text('"""Features."""\n')
    (folder / "__init__.py").write_text("from icebox.features.store.reading import FeatureStore\n")
    (folder / "reading.py").write_text("from icebox.features.store.shards import rows\n\nclass FeatureStore: ...\n")
    (folder / "shards.py").write_text("rows = 1\n")
    (folder / "page/icons").mkdir(parents=True)
    (folder / "page/icons/logo.svg").write_text("<svg/>")
    (folder / "schema.json").write_text("{}")
    monkeypatch.setattr(stamps.plugins, "folder", lambda module: tmp_path / Path(*module.split(".")[1:]))
    monkeypatch.chdir(tmp_path)
    stamps.source.cache_clear()
    yield tmp_path
    stamps.imported.cache_clear()
    stamps.source.cache_clear()


def closure_of(folder: Path, text: str) -> set[str]:
    (folder / "stage.py").write_text(text)
    stamps.imported.cache_clear()
    return {str(path.relative_to(folder)) for path in stamps.closure(folder / "stage.py")} - {"stage.py"}


@pytest.mark.parametrize(
    "line",
    [
        "from icebox.features.store import FeatureStore",
        "from icebox.features import store",
        "import icebox.features.store",
        "import icebox.features.store as s",
        "def late():\n    from icebox.features.store import FeatureStore",
        "from icebox.features.store.reading import FeatureStore",
        "from .features.store import FeatureStore",
    ],
)
def test_what_a_package_hands_on_is_followed(package, line):
    expected = {"__init__.py", "store/__init__.py", "store/reading.py", "store/shards.py"}
    expected |= {"store/page/icons/logo.svg", "store/schema.json"}  # and the files that a package reads
    assert closure_of(package, line) == {f"features/{name}" for name in expected}


@pytest.mark.parametrize("line", ["import {}.gone", "from {}.gone import x", "from {}.store.gone import x"])
def test_an_import_of_ours_that_no_file_answers_is_an_error(package, line):
    with pytest.raises(ModuleNotFoundError, match=r"stage\.py: imports icebox.features.*gone, of which"):
        closure_of(package, line.format("icebox.features"))


def test_a_library_is_not_followed(package):
    assert closure_of(package, "import json, numpy.linalg\nfrom sklearn.svm import SVC\n") == set()


def test_a_projects_own_plugin_has_a_stamp_that_follows_its_own_files_and_ours(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "plugins/heads"
    own.mkdir(parents=True)
    (own / "mine.py").write_text("from icebox.pipeline.heads.helper import x\nfrom icebox.pipeline.heads import knn\n")
    (own / "helper.py").write_text("from . import other\nx = 1\n")
    (own / "other.py").write_text("")
    stamps.imported.cache_clear()
    stamps.source.cache_clear()
    assert {"mine.py", "helper.py", "other.py", "knn.py", "preprocessing.py"} <= names(stamps.closure(own / "mine.py"))
    before = stamps.code_of(own / "mine.py")
    (own / "other.py").write_text("y = 1\n")
    assert stamps.code_of(own / "mine.py") != before
