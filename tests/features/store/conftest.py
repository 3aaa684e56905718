"""A project, for tests of what is kept on this machine."""

from pathlib import Path

import pytest


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """The working folder, which is a project."""
    (tmp_path / ".icebox").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path
