"""-q and -v: what goes to stderr, before or after the command, and into the stages that DVC starts."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from icebox.pipeline.cli import project, verbosity
from icebox.pipeline.cli.app import main

PARAMS = """\
datasets: {notes: {source: csv_text, path: notes.csv, label: label}}
backbones: {hashing: {}}
stores:
  notes-hashing: {dataset: notes, backbone: hashing}
heads: {logreg: {}}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A project whose 40 notes hold one content twice: a finding."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(verbosity.VARIABLE, raising=False)
    (tmp_path / "params.yaml").write_text(PARAMS)
    notes = [f"note {i % 39},{'ab'[i % 39 % 2]}" for i in range(40)]
    (tmp_path / "notes.csv").write_text("\n".join(["text,label", *notes]) + "\n")
    return tmp_path


def manifest(*options: str, capsys) -> list[str]:
    assert main([*options, "manifest", "notes"]) == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err.splitlines()


def test_by_default_a_stage_tells_what_it_did_and_calls_a_warning_one(folder, capsys):
    lines = manifest(capsys=capsys)
    assert lines[0].startswith("notes: 40 items of 2 classes (")
    assert [line.startswith("warning: notes: ") for line in lines] == [False] + [True] * (len(lines) - 1)
    assert len(lines) > 1


@pytest.mark.parametrize("options", [["-q"], ["--quiet"]])
def test_quiet_leaves_warnings(folder, capsys, options):
    everything, quiet = manifest(capsys=capsys), manifest(*options, capsys=capsys)
    assert quiet == everything[1:]


def test_the_options_may_follow_the_command(folder, capsys):
    assert main(["manifest", "notes", "-q"]) == 0
    assert all(line.startswith("warning: ") for line in capsys.readouterr().err.splitlines())


def test_the_variable_does_what_the_option_does(folder, capsys, monkeypatch):
    monkeypatch.setenv(verbosity.VARIABLE, "quiet")
    assert all(line.startswith("warning: ") for line in manifest(capsys=capsys))


@pytest.mark.parametrize("options", [["-v", "fit", "nothing"], ["fit", "nothing", "--verbose"]])
def test_verbose_adds_the_traceback_of_an_error(folder, capsys, options):
    assert main(["fit", "nothing"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert main(options) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == line


def test_an_error_is_told_also_to_the_quiet(folder, capsys):
    assert main(["-q", "fit", "nothing"]) == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_both_are_wrong_use(capsys):
    assert main(["-q", "-v", "doctor"]) == 2
    assert "give one of the two" in capsys.readouterr().err


@pytest.mark.parametrize("name", verbosity.LEVELS)
def test_the_stages_of_dvc_get_the_same(name, monkeypatch):
    started = {}
    monkeypatch.setattr(
        subprocess, "run", lambda command, env, **_: started.update(env) or subprocess.CompletedProcess(command, 0)
    )
    with verbosity.lines_to_stderr():
        verbosity.choose(name)
        project.dvc("repro")
    assert started[verbosity.VARIABLE] == name


def test_the_logger_is_left_as_it_was():
    logger = logging.getLogger("icebox")
    before = logger.level, logger.propagate, list(logger.handlers)
    assert main(["-v", "schema"]) == 0
    assert (logger.level, logger.propagate, list(logger.handlers)) == before


@pytest.mark.parametrize("arguments", [["predict", "s/h", "--", "-q"], ["store", "list"], []])
def test_what_follows_two_dashes_is_no_option(arguments):
    assert verbosity.options_first(arguments) == arguments


def test_the_library_alone_says_nothing():
    code = "import icebox, logging; logging.getLogger('icebox').warning('a line')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""
