from pathlib import Path

import pytest

from icebox.features.errors import IceboxError
from icebox.features.weights import project_code


@pytest.fixture
def project(tmp_path) -> Path:
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets/__init__.py").write_text("")
    (tmp_path / "nets/net.py").write_text(
        "import torch\nfrom nets import part\nfrom .more import x\ndef make(): return x\n"
    )
    (tmp_path / "nets/part.py").write_text("raise SystemExit\n")
    (tmp_path / "nets/more.py").write_text("x = 1\n")
    (tmp_path / "beside.py").write_text("y = 1\n")
    return tmp_path


def test_the_files_are_those_that_the_module_imports_and_none_is_run(project):
    names = list(project_code.files("nets.net:make", project))
    assert names == ["nets/__init__.py", "nets/more.py", "nets/net.py", "nets/part.py"]


@pytest.mark.parametrize("changed", ["nets/net.py", "nets/more.py", "nets/__init__.py"])
def test_an_edit_of_any_of_them_changes_the_hash_and_of_a_file_beside_them_does_not(project, changed):
    before = project_code.code_hash("nets.net:make", project)
    (project / "beside.py").write_text("y = 2\n")
    assert project_code.code_hash("nets.net:make", project) == before
    (project / changed).write_text((project / changed).read_text() + "# more\n")
    assert project_code.code_hash("nets.net:make", project) != before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("os:system", "os is no module of this project"),
        ("torch:load", "torch is no module of this project: expected a file torch.py"),
        ("icebox.features.files:write_text", "no module of this project"),
        ("nets.net:other", "nets/net.py defines no 'other' at its top"),
        ("nets.net", "expected package.module:function, found 'nets.net'"),
        ("nets.net:make;ls", "expected package.module:function"),
        ("../nets:make", "expected package.module:function"),
    ],
)
def test_what_is_no_function_of_the_project_is_refused(project, name, message):
    with pytest.raises(IceboxError, match=message):
        project_code.files(name, project)


def test_code_of_the_same_name_in_another_folder_or_edited_is_imported_anew(tmp_path):
    for value, folder in enumerate(("a", "b", "a")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "one_net.py").write_text(f"def make(): return {value}\n")
        assert project_code.function("one_net:make", tmp_path / folder)() == value


def test_an_import_that_fails_is_one_line(project):
    (project / "nets/part.py").write_text("import no_such_library\n")
    with pytest.raises(IceboxError, match=r"nets.net can't be imported: ModuleNotFoundError.*no_such_library"):
        project_code.function("nets.net:make", project)
