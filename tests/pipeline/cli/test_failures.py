"""Commands that can't do what they are asked to: one line on stderr, exit code 1, and no traceback without -v."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from icebox.pipeline.cli import failures
from icebox.pipeline.cli.app import main
from tests.conftest import PROJECT


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of this one's params.yaml, in which nothing has run yet."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_bytes((PROJECT / "params.yaml").read_bytes())
    return tmp_path


@pytest.fixture
def refused(folder: Path, capsys: pytest.CaptureFixture[str]):
    """The one line with which a command ends."""

    def run(*command: str) -> str:
        assert main(command) == 1
        printed = capsys.readouterr()
        [line] = printed.err.splitlines()
        assert printed.out == ""
        return line

    return run


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (["manifest", "digit"], "manifest digit: no entry of datasets named 'digit'; did you mean 'digits'?"),
        (["fetch", "minilm6"], "fetch minilm6: no entry of backbones named 'minilm6'; did you mean 'minilm'?"),
        (
            ["fetch", "glyphnet"],
            "fetch glyphnet: no entry of backbones named 'glyphnet'; there are: minilm, pix",
        ),
        (["pretrain", "pixels"], "pretrain pixels: no entry of pretrain named 'pixels'; there are: glyphnet"),
        (["extract", "digits-pixel"], "extract digits-pixel: no entry of stores named 'digits-pixel'; did you"),
        (["extract", ""], "extract : no entry of stores named ''; there are: digits-glyphnet"),
        (
            ["look", "../digits-pixels"],
            "look ../digits-pixels: no entry of stores named '../digits-pixels'; did",
        ),
        (["unfreeze", "nope"], "unfreeze nope: no entry of unfreeze named 'nope'; there are: glyphnet-tuned"),
        (
            ["fit", "digits-pixels-logregg"],
            "digits-pixels-logregg: expected STORE/HEAD, found no head of that name; did you",
        ),
        (
            ["fit", "nope"],
            "nope: expected STORE/HEAD, found no head of that name; there are: digits-",
        ),
        (["generate", "nope"], "generate: 'nope' has no entry under generate: in params.yaml"),
        (
            ["store", "info", "nope"],
            "data/stores/nope: no finished feature store here; run: dvc repro extract@no",
        ),
        (["store", "verify", "nope"], "data/stores/nope: no finished feature store here"),
        (["describe", "nope"], "describe: no backbone named 'nope'; there are: "),
    ],
)
def test_an_unknown_name_is_told_with_those_that_are_known(command, line, refused):
    assert refused(*command).startswith(f"error: {line}")


def test_a_folder_that_can_not_be_written_to_is_named(folder, refused):
    (folder / "data").write_text("a file where a folder should be")
    assert refused("check").startswith("error: data")


def test_a_file_that_another_user_may_read_only_is_named(folder):
    command = [sys.executable, "-m", "icebox", "check"]
    if os.geteuid() == 0:  # root may do anything, so nobody runs the command
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        if subprocess.run([*nobody, *command[:1], "-c", "import icebox"], check=False).returncode:
            pytest.skip("nobody may not run this Python")
        command = [*nobody, *command]
    folder.chmod(0o555)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    folder.chmod(0o755)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "Permission denied" in line


def test_the_traceback_is_a_matter_of_v(folder, capsys):
    (folder / "params.yaml").unlink()
    assert main(["-v", "check"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_errors_of_the_machine_are_told_from_those_of_the_program(tmp_path):
    with pytest.raises(OSError, match="No such file") as caught:
        (tmp_path / "a").rename(tmp_path / "b")
    assert failures.explain(caught.value) == f"{tmp_path}/a → {tmp_path}/b: No such file or directory"
    with pytest.raises(OSError, match="No space left") as caught, Path("/dev/full").open("wb", buffering=0) as full:
        full.write(b"x")
    assert failures.explain(caught.value) == "No space left on device"
    with pytest.raises(MemoryError) as no_memory:
        bytearray(1 << 62)
    assert str(failures.explain(no_memory.value)).startswith("not enough memory")
    assert str(failures.explain(RuntimeError("can't start new thread"))).startswith("not enough memory")
    assert failures.explain(RecursionError("maximum recursion depth exceeded")) == (
        "something is nested too deeply to be read"
    )
    assert failures.explain(RuntimeError("dictionary changed size during iteration")) is None
    assert failures.explain(KeyError("a")) is None
