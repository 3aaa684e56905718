"""`python -m tests.fuzz --minutes 10`: damaged and hostile inputs for every reader, and a table of how each ended.

Inputs depend on the target and the seed alone. They are read in processes of their own, which are ended after 30 s.
"""

import argparse
import contextlib
import itertools
import json
import logging
import os
import queue
import resource
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tabulate import tabulate

from tests.fuzz.target import LINE_MAX, Run

HANG_S = 30.0
START_S = 180.0  # libraries and samples, on a busy machine
PEAK_BYTES = 2 << 30
MEMORY_BYTES = 12 << 30  # of address space: torch alone maps a few GB
GOOD = ("read", "refused")
BAD = ("traceback", "several lines", "hang", "peak", "crash")


def serve() -> None:
    """Read one input for each line of stdin, {target, seed}, and write how it ended as a line of stdout."""
    from tests.fuzz.targets import TARGETS

    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints is no answer
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    warnings.simplefilter("ignore")
    logging.disable()
    by_name, runs = {target.name: target for target in TARGETS}, {}
    with tempfile.TemporaryDirectory() as folder:
        for line in sys.stdin:
            order = json.loads(line)
            name = order["target"]
            if name not in runs:
                place = Path(folder, str(len(runs)))
                place.mkdir()
                runs[name] = Run(by_name[name], place)
                print(json.dumps({"ready": name}), file=answers)
            try:
                text = runs[name].attempt(order["seed"])
                long = len(text.splitlines()) > 1 or len(text) > LINE_MAX
                end = "read" if text == "read" else "several lines" if long else "refused"
            except Exception as error:  # noqa: BLE001, to count them is what this is for
                frames = traceback.extract_tb(error.__traceback__)
                places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames]
                end, text = "traceback", f"{type(error).__name__}: {error} ({' '.join(places[-6:])})"
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            print(json.dumps({"end": end, "text": text[:600], "peak": peak}), file=answers)


def listen(stream: IO[str], answers: "queue.SimpleQueue[str]") -> None:
    """Put each line into the queue, and an empty one at the end."""
    for line in stream:
        answers.put(line)
    answers.put("")


class Reader:
    """A process that reads inputs; a new one takes its place where it hung, crashed or grew."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None
        self.answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.known: set[str] = set()

    def attempt(self, target: str, seed: int) -> tuple[str, str]:
        """How reading one input ended, and the text of it."""
        if self.process is None:
            command = [sys.executable, "-m", "tests.fuzz", "--serve"]
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            self.answers = queue.SimpleQueue()
            threading.Thread(target=listen, args=(self.process.stdout, self.answers), daemon=True).start()
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps({"target": target, "seed": seed}), file=self.process.stdin, flush=True)
        answer = None
        if target in self.known or (self._answer(START_S) or {}).get("ready"):
            self.known.add(target)
            answer = self._answer(HANG_S)
        if answer is None:
            time.sleep(0.1)  # a process that has crashed closes its pipes first
            end = "hang" if self.process.poll() is None else "crash"
            self.close()
            return end, ""
        if answer["peak"] > PEAK_BYTES:
            self.close()
            return "peak", f"{answer['peak'] / 1e9:.1f} GB; {answer['end']}: {answer['text']}"
        return answer["end"], answer["text"]

    def _answer(self, seconds: float) -> dict | None:
        try:
            line = self.answers.get(timeout=seconds)
        except queue.Empty:
            return None
        return json.loads(line) if line else None

    def close(self) -> None:
        """End the process."""
        if self.process:
            self.process.kill()
            self.process.wait()
        self.process, self.known = None, set()


def inputs(names: list[str], shares: dict[str, float], first: int) -> Iterator[tuple[str, int]]:
    """(target, seed) without end: each target in turn, as often as its share says."""
    done: Counter[str] = Counter()
    for turn in itertools.count(1):
        for name in names:
            while done[name] < turn * shares[name]:
                yield name, first + done[name]
                done[name] += 1


def main() -> None:
    """Try inputs for some minutes, or so many of each target, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=main.__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--inputs", type=int, help="at most so many in all")
    parser.add_argument("--seed", type=int, default=1_000, help="the first one; the tests' own begin at 0")
    parser.add_argument("--target", action="append", help="only this one; may be given several times")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    from tests.fuzz.targets import TARGETS

    shares = {target.name: target.share for target in TARGETS}
    names = options.target or list(shares)
    if unknown := set(names) - set(shares):
        parser.error(f"no target {', '.join(unknown)}; there are: {', '.join(shares)}")
    ends: dict[str, Counter[str]] = {name: Counter() for name in names}
    waiting, lock = inputs(names, shares, options.seed), threading.Lock()
    until = time.monotonic() + 60 * options.minutes

    def work() -> None:
        reader = Reader()
        while time.monotonic() < until:
            with lock:
                if options.inputs is not None and sum(each.total() for each in ends.values()) >= options.inputs:
                    break
                name, seed = next(waiting)
                ends[name]["running"] += 1
            end, text = reader.attempt(name, seed)
            with lock:
                ends[name]["running"] -= 1
                ends[name][end] += 1
                if end in BAD:
                    print(f"{end}: --target '{name}' --seed {seed}: {text}", flush=True)
        reader.close()

    threads = [threading.Thread(target=work) for _ in range(options.jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    table = [[name, each.total(), *(each[end] for end in (*GOOD, *BAD))] for name, each in ends.items()]
    table.append(["all", *(sum(row[i] for row in table) for i in range(1, len(table[0])))])
    print(tabulate(table, headers=["target", "tried", *GOOD, *BAD]))
    sys.exit(1 if any(table[-1][4:]) else 0)


if __name__ == "__main__":
    main()
