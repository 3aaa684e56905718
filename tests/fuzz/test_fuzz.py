"""A small part of what `python -m tests.fuzz` does, on the same seeds each time."""

import warnings

import pytest

from tests.fuzz.target import LINE_MAX, Run, Target
from tests.fuzz.targets import TARGETS

INPUTS = 12


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name.replace(" ", "_"))
def test_damage_ends_in_one_line_or_in_none(target: Target, tmp_path) -> None:
    run = Run(target, tmp_path)
    with warnings.catch_warnings(action="ignore"):
        for seed in range(round(INPUTS * target.share)):
            try:
                line = run.attempt(seed)
            except Exception as error:
                error.add_note(f"python -m tests.fuzz --target '{target.name}' --seed {seed} --inputs 1")
                raise
            assert len(line.splitlines()) == 1, f"seed {seed}: several lines: {line}"
            assert len(line) <= LINE_MAX, f"seed {seed}: a line of {len(line)} characters: {line[:200]}"
