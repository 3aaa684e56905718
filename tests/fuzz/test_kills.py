"""A small part of what `python -m tests.fuzz.kills` does, on the same seed each time."""

import subprocess
import sys

import pytest

from tests.conftest import PROJECT

LINES = (
    "manifest notes|fetch hashing|extract notes|fit notes.*/knn|evaluate notes|store export notes|store compact notes"
)


@pytest.mark.slow
def test_kills_lose_and_tear_nothing_and_the_next_run_ends_at_the_same_bytes() -> None:
    command = [sys.executable, "-m", "tests.fuzz.kills", "--number", "12", "--lines", LINES]
    done = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    total = done.stdout.splitlines()[-1].split()
    assert total[:2] == ["all", "12"]
    assert int(total[2]) >= 4, done.stdout
