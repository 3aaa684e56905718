"""A small project in a folder of its own, in which `tests.fuzz.kills` runs and kills commands, and what they leave."""

import hashlib
import json
import mmap
import os
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from icebox.features.files import TEMPORARY
from tests import conftest, stage_server

STEPS = ("os.rename", "os.link", "os.remove", "os.rmdir")  # between two of these no name in a folder appears or goes
MEASURED = re.compile(r"(_s|_per_s|_mb|_bytes_peak|seconds)$|peak|_rate$")  # keys of JSON that no two runs share
ROWS = ("data/stores/", ".icebox/shards/")  # of features
OF_THIS_MACHINE = (
    ".icebox/checked",
    ".icebox/raw",
    ".icebox/contents",
)  # by files' times, so that no two runs share them
PARAMS = conftest.PARAMS.replace("raw/", "../raw/")
CHANGES = [
    ("../raw/", "../changed/"), ("steps: 3", "steps: 4"), ("C: [0.1, 1.0]", "C: [0.2, 2.0]"),
    ("n_neighbors: 3", "n_neighbors: 5"), ("free: last 1", "free: last 2"),
]  # fmt: skip
HEADS = [f"{store}/{head}" for store in ("photos-glyphnet", "photos-pixels", "photos-pixels/few", "notes-hashing")
         for head in ("logreg", "knn")]  # fmt: skip
COMMANDS = [
    "init made --images ../raw/photos",
    "check",
    "manifest photos", "manifest notes",
    "fetch pixels", "fetch hashing",
    "pretrain glyphnet",
    "extract photos-glyphnet", "extract photos-pixels", "extract notes-hashing",
    *(f"fit {head}" for head in HEADS),
    "ensemble photos-pixels",
    "unfreeze photos-tuned",
    "look photos-glyphnet", "look photos-pixels", "look notes-hashing",
    "report",
    "predict photos-pixels/logreg ../new/photos --out predicted.csv",
    "predict notes-hashing/logreg ../new/notes.csv --out predicted.jsonl",
    "predict photos-glyphnet/photos-tuned ../new/photos --out predicted.parquet",
    "evaluate photos-pixels/knn ../new/photos --out evaluated.csv",
    "evaluate notes-hashing/knn ../new/notes.csv --out evaluated.parquet",
    "store export photos-pixels --to exported.npz",
    "store export photos-glyphnet --to exported.npy",
    "store export notes-hashing --to exported.parquet",
    "store compact photos-pixels", "store compact notes-hashing",
    "store prune",
]  # fmt: skip


@dataclass
class Ran:
    """How a command ended: exit code or minus the signal, its steps, and what it wrote to stdout and stderr."""

    code: int
    took_s: float
    steps: int
    log: str


@dataclass
class Case:
    """A command, the state before it, and what an undisturbed run makes of that: path → hash of its content.

    `rewritten` are the files that it makes anew, so that they may be away meanwhile; the rows of stores never are.
    """

    line: str
    before: Path
    old: dict[str, str]
    new: dict[str, str] = field(default_factory=dict)
    rewritten: set[str] = field(default_factory=set)
    took_s: float = 0.0
    steps: int = 0

    @property
    def command(self) -> str:
        """`extract`, `store export .npz`: what the table counts."""
        words = shlex.split(self.line)
        suffix = Path(words[-1]).suffix if {"--out", "--to"} & set(words) else ""
        return " ".join([*words[: 2 if words[0] == "store" else 1], *filter(None, [suffix])])


class Workplace:
    """A folder with raw data and the state, in which commands run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder, folder / "state"
        for number, name in enumerate(("raw", "changed", "new")):
            conftest.make_raw_data(folder / name, seed=number if name == "new" else 0)
        change(folder / "changed", folder / "new")
        self.state.mkdir()
        (self.state / "params.yaml").write_text(PARAMS)
        shutil.copy(conftest.PROJECT / "dvc.yaml", self.state)
        self.steps = mmap.mmap(-1, 8)  # shared with the forks

    def run(self, line: str, *, kill_after_s: float | None = None, kill_at_step: int | None = None) -> Ran:
        """Run one command in a fork, to its end or to the kill."""
        log = self.folder / "log.txt"
        order = {
            "arguments": shlex.split(line),
            "folder": str(self.state),
            "environment": {**os.environ, "XDG_CACHE_HOME": str(self.folder / "cache")},
        }
        self.steps[:] = struct.pack("q", 0)
        began = time.perf_counter()
        child = os.fork()
        if child == 0:
            streams = [os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)]
            self._count_steps(kill_at_step)
            stage_server.run(order, [*streams, streams[1]])
        while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
            if kill_after_s is not None and time.perf_counter() - began >= kill_after_s:
                os.kill(child, signal.SIGKILL)
                kill_after_s = None
            time.sleep(0.001)
        took_s = time.perf_counter() - began
        code = os.waitstatus_to_exitcode(ended[1])
        return Ran(code, took_s, struct.unpack("q", self.steps[:])[0], log.read_text(errors="replace"))

    def _count_steps(self, last: int | None) -> None:
        """Count this process's steps where its parent can read them; be killed just before number `last`, from 0."""

        def watch(event: str, arguments: tuple[Any, ...]) -> None:
            if event in STEPS:
                count = struct.unpack("q", self.steps[:])[0]
                if count == last:
                    os.kill(os.getpid(), signal.SIGKILL)
                self.steps[:] = struct.pack("q", count + 1)

        sys.addaudithook(watch)

    def must(self, line: str) -> Ran:
        """Run one command, which has to succeed."""
        ran = self.run(line)
        if ran.code:
            raise SystemExit(f"{line}: ended with {ran.code}: {ran.log}")
        return ran

    def cases(self, lines: str) -> Iterator[Case]:
        """The commands that begin as `lines`, on no project, and on one whose data and settings have changed."""
        for made_before in (False, True):
            if made_before:
                params = self.state / "params.yaml"
                text = params.read_text()
                for old, new in CHANGES:
                    assert old in text
                    text = text.replace(old, new)
                params.write_text(text)
            for line in filter(re.compile(lines).match, COMMANDS):
                if made_before and line.startswith("init"):
                    continue  # it refuses to
                before = self.folder / f"before-{made_before}" / re.sub(r"\W+", "-", line)
                copy(self.state, before)
                case = Case(line, before, contents(self.state))
                inodes = {name: (self.state / name).stat().st_ino for name in case.old}
                ran = self.must(line)
                case.new, case.took_s, case.steps = contents(self.state), ran.took_s, ran.steps
                kept = {name for name in case.old.keys() & case.new.keys() if not name.startswith(ROWS)}
                case.rewritten = {name for name in kept if (self.state / name).stat().st_ino != inodes[name]}
                yield case


def change(changed: Path, new: Path) -> None:
    """Take a third of the items out, and put some others in."""
    for number, path in enumerate(sorted((changed / "photos").rglob("*.png"))):
        if number % 3 == 0:
            path.unlink()
    for path in sorted((new / "photos").rglob("*.png"))[::10]:
        shutil.copy(path, changed / "photos" / path.parent.name / f"new-{path.name}")
    lines = (changed / "notes.csv").read_text().splitlines()
    kept = [line for number, line in enumerate(lines) if number % 3 or number == 0]
    (changed / "notes.csv").write_text("\n".join([*kept, "a good new one,plus", "a bad new one,minus"]) + "\n")


def copy(source: Path, target: Path) -> None:
    """A copy of a folder with its hard links, by which a store and the shard cache share files."""
    target.parent.mkdir(exist_ok=True)
    subprocess.run(["cp", "-a", source, target], check=True)


def temporaries(state: Path) -> list[str]:
    """Temporary files and folders."""
    return [str(path.relative_to(state)) for path in sorted(state.rglob(f"{TEMPORARY}*"))]


def contents(state: Path) -> dict[str, str]:
    """Path → hash of all files but records of this machine; in JSON without what no two runs share."""
    return {
        name: digest(path)
        for path in sorted(state.rglob("*"))
        if path.is_file() and not (name := str(path.relative_to(state))).startswith(OF_THIS_MACHINE)
    }


def digest(path: Path) -> str:
    """The sha256 of a file's bytes, or, where it is JSON, of its values."""
    content = path.read_bytes()
    if path.suffix == ".json":
        try:
            content = json.dumps(without_measured(json.loads(content))).encode()
        except ValueError:
            return "damaged"
    return hashlib.sha256(content).hexdigest()


def without_measured(value: Any) -> Any:
    """A JSON value without the keys of seconds and memory."""
    if isinstance(value, dict):
        return {key: without_measured(inner) for key, inner in value.items() if not MEASURED.search(key)}
    return [without_measured(inner) for inner in value] if isinstance(value, list) else value
