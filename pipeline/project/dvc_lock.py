"""DVC as `icebox run` starts it: the same, but that a stage which has run changes its own lines of dvc.lock only.

DVC itself parses all of dvc.lock after each stage and writes it all anew, in Python: 0.7 s of processor where there are
50 stages. Here the lines of one stage take the place of those that it had. The bytes are those that DVC writes; a file
that DVC did not write in this form (comments, anchors, further sections) is left to it.
"""

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

HEAD = "schema: '2.0'\nstages:\n"
ANCHOR = re.compile(r"[:-] [&*]")  # may stand for another stage's lines
LINE = re.compile(r"[^\n]*\n")
KEY = re.compile(r"  (?![ ?&*#!-]).*:\n")  # of a stage, in the form in which names are written that are not long


def with_stages(text: str, stages: Mapping[str, Any]) -> str | None:
    """A lock file's text with these stages in it, {name: what is locked}; None where it has another form than DVC's."""
    from dvc.utils.serialize import dumps_yaml

    blocks = blocks_of(text)
    if blocks is None:
        return None
    for name, locked in stages.items():
        new = blocks_of(str(dumps_yaml({"schema": "2.0", "stages": {name: locked}})))
        if new is None or len(new) != 1:
            return None
        blocks |= new
    return HEAD + "".join(key + rest for key, rest in blocks.items())


def blocks_of(text: str) -> dict[str, str] | None:
    """The line of each stage's name → the lines below it; None for a file of another form."""
    if not text.startswith(HEAD) or not text.endswith("\n") or ANCHOR.search(text):
        return None
    blocks: dict[str, list[str]] = {}
    lines: list[str] | None = None
    for line in LINE.findall(text, len(HEAD)):
        if line.startswith("    ") and lines is not None:
            lines.append(line)
        elif KEY.fullmatch(line) and line not in blocks:
            lines = blocks[line] = []
        else:
            return None
    return {key: "".join(rest) for key, rest in blocks.items()}


def dumping_parts(original: Callable[..., None]) -> Callable[..., None]:
    """DVC's `Lockfile.dump_stages`, of which this `original` does what is of another form."""

    def dump_stages(lock: Any, stages: Iterable[Any], **options: Any) -> None:
        from dvc import dvcfile
        from dvc.stage.serialize import to_lockfile

        path, all_stages = Path(lock.path), list(stages)
        before = path.read_bytes().decode() if path.is_file() else ""
        locked = {name: each for stage in all_stages for name, each in to_lockfile(stage, **options).items()}
        after = with_stages(before, locked)  # None too of the first stage: DVC says that it makes the file
        if after is None:
            original(lock, all_stages, **options)
        elif after != before:
            dvcfile.logger.info("Updating lock file '%s'", lock.relpath)
            path.write_bytes(after.encode())
            lock.repo.scm_context.track_file(lock.relpath)

    return dump_stages


def main() -> int:
    """Run DVC with this process's arguments → its exit code."""
    from dvc.cli import main as dvc
    from dvc.dvcfile import Lockfile

    Lockfile.dump_stages = dumping_parts(Lockfile.dump_stages)
    return int(dvc(sys.argv[1:]) or 0)


if __name__ == "__main__":
    sys.exit(main())
