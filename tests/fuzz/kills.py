"""`python -m tests.fuzz.kills --number 1000`: every command that writes, killed at any moment, and what was left.

A small project is made twice: from nothing, and over what is there after its data and settings have changed. From the
state before each command: SIGKILL at a random time of it, in its last fifth, or at a random rename, link or removal.
Each file must then be the old one or the new one, every finished store be found whole, and the same command, run again,
come to the bytes of an undisturbed run, without a temporary file. Only files that the command makes anew may be away in
between: DVC too removes a stage's outputs first. No row of features may be. Commands are forks of this process, which
has loaded all libraries.
"""

import argparse
import gc
import os
import pkgutil
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tabulate import tabulate

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded; the networks here are tiny

import icebox
from tests import stage_server
from tests.fuzz.__main__ import inputs
from tests.fuzz.workplace import ROWS, Case, Workplace, contents, copy, temporaries

KINDS = ("any time", "last fifth", "step")
CURVES = "results/curves/"
FAULTS = ("torn", "lost", "temporaries", "bytes", "refused")
HEADERS = (
    "command", "kills", "before the end", "away", "torn", "lost", "temporaries left", "bytes that differ", "refused"
)  # fmt: skip
SHARES = {"pretrain": 0.3}  # of kills, where not 1: drawing glyphs takes ten times as long as all else


def try_one(place: Workplace, case: Case, kind: str, draw: random.Random) -> tuple[bool, dict[str, list[str]]]:
    """Kill, look, run again, look → whether the kill came before the end, and what is wrong: kind → lines."""
    shutil.rmtree(place.state)
    copy(case.before, place.state)
    if kind == "step":
        ran = place.run(case.line, kill_at_step=draw.randrange(max(case.steps, 1)))
    else:
        begin = 0.8 if kind == "last fifth" else 0.0
        ran = place.run(case.line, kill_after_s=draw.uniform(begin * case.took_s, case.took_s))
    found: dict[str, list[str]] = {name: [] for name in ("away", *FAULTS)}
    if ran.code not in (0, -signal.SIGKILL):
        found["refused"].append(f"ended with {ran.code}: {ran.log}")
    if ran.code == 0 and kind != "step":  # the machine is less busy than when the command was timed
        case.took_s = min(case.took_s, ran.took_s)
    left = contents(place.state)
    for name in sorted((case.old.keys() & case.new.keys()) - left.keys()):
        found["away" if name in case.rewritten else "lost"].append(name)
    for name in sorted(left.keys() & (case.old.keys() | case.new.keys())):
        if left[name] not in (case.old.get(name), case.new.get(name)) and not is_curve(place.state, name):
            found["torn"].append(name)
    if rows(left) != rows(case.old):
        for index in sorted(place.state.glob("data/stores/*/index.h5")):
            verified = place.run(f"store verify {index.parent.name}")
            if verified.code:
                found["torn"].append(f"{index.parent}: {verified.log}")
    again = place.run(case.line)
    if again.code and not (case.command == "init" and left == case.new):  # it refuses to make a project that is there
        found["refused"].append(f"the next run ended with {again.code}: {again.log}")
    found["temporaries"] = temporaries(place.state)
    end = contents(place.state)
    for name in sorted(end.keys() | case.new.keys()):
        if end.get(name) != case.new.get(name):
            found["bytes"].append(f"{name}{' (missing)' if name not in end else ''}")
    return ran.code == -signal.SIGKILL, found


def is_curve(state: Path, name: str) -> bool:
    """Whether a file is a learning curve so far, of whole lines or whole JSON: these grow while a network trains."""
    return name.startswith(CURVES) and (state / name).read_text().endswith("\n")


def rows(files: dict[str, str]) -> dict[str, str]:
    """The files of stores and of the shard cache."""
    return {name: content for name, content in files.items() if name.startswith(ROWS)}


def main() -> None:
    """Kill so many times, each command in turn, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.kills", description=main.__doc__)
    parser.add_argument("--number", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=600.0, help="at most so long, the making of the project apart")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--command", action="append", help="only this one; may be given several times")
    parser.add_argument("--lines", default="", help="a regex: of COMMANDS, run those only that begin so")
    options = parser.parse_args()
    modules = [module.name for module in pkgutil.walk_packages(icebox.__path__, "icebox.")]
    for name in (*stage_server.LIBRARIES, *modules):
        if not name.endswith("__main__") and ".exported.reference" not in name:  # code that exports carry
            __import__(name)
    gc.freeze()  # so that a fork copies less
    with tempfile.TemporaryDirectory() as folder:
        place = Workplace(Path(folder))
        cases: dict[str, list[Case]] = {}
        for case in place.cases(options.lines):
            cases.setdefault(case.command, []).append(case)
        commands = options.command or list(cases)
        if unknown := set(commands) - set(cases):
            parser.error(f"no command {', '.join(unknown)}; there are: {', '.join(cases)}")
        counts = {name: Counter[str]() for name in commands}
        turns = inputs(commands, {name: SHARES.get(name, 1.0) for name in commands}, 0)
        until = time.monotonic() + 60 * options.minutes
        for number, (command, _) in zip(range(options.number), turns, strict=False):
            if time.monotonic() > until:
                break
            draw = random.Random(f"{options.seed} {number}")
            count, case = counts[command], draw.choice(cases[command])
            kind = draw.choice(KINDS)
            killed, found = try_one(place, case, kind, draw)
            count["kills"] += 1
            count["before the end"] += killed
            for name, lines in found.items():
                count[name] += len(lines)
                for line in lines if name in FAULTS else ():
                    print(f"{name}: {case.before.relative_to(folder)}, {kind}, number {number}: {line}", flush=True)
    table = [
        [name, count["kills"], count["before the end"], *(count[each] for each in ("away", *FAULTS))]
        for name, count in counts.items()
    ]
    table.append(["all", *(sum(row[i] for row in table) for i in range(1, len(HEADERS)))])
    print(tabulate(table, headers=HEADERS))
    sys.exit(1 if any(table[-1][4:]) else 0)


if __name__ == "__main__":
    main()
