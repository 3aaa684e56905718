"""Time to swap one head's parameter: `icebox run` or `dvc repro` after a change of logreg's C, against one that has
nothing to do, in a copy of this project with one store, digits through pixels, and all default heads.

Run in the project's root: python -m benchmarks.swap icebox|dvc [ROUNDS]

Rounds take turns; the first is left out, so that files are in the page cache. A swap runs the stages check, fit of
logreg and report, and `dvc repro` starts a Python process for each. On a machine that does other things too the
processor's seconds count: on a quiet one the clock's are hardly more. Python keeps its bytecode, as it does unless told
otherwise: without, each stage translates this project's files anew.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import yaml

from benchmarks.clock import Clock

COMMANDS = {"icebox": ["icebox", "run"], "dvc": ["dvc", "repro", "-q"]}
NEEDED = ("icebox", "features", "pipeline", "dvc.yaml", "params.yaml", ".dvc/config", ".dvcignore", ".gitignore")


def run(command: list[str], folder: Path) -> dict[str, float]:
    """Seconds of one command, start of the process included."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with Clock() as clock:
        subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return clock.seconds


def copy(folder: Path) -> None:
    """The project with one store."""
    for name in NEEDED:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if Path(name).is_dir():
            shutil.copytree(name, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(name, target)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    for catalogue, kept in {"datasets": "digits", "backbones": "pixels", "stores": "digits-pixels"}.items():
        params[catalogue] = {kept: params[catalogue][kept]}
    params |= {"pretrain": {}, "unfreeze": {}, "heads": dict.fromkeys(params["heads"])}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def change(folder: Path, keys: tuple[str, str], value: object) -> None:
    """Set one value of params.yaml."""
    path = folder / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params[keys[0]][keys[1]] = value
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def main(which: str, rounds: int = 5) -> None:
    """Print both medians and their difference."""
    repro = partial(run, COMMANDS[which])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy(folder)
        print(f"everything, once: {repro(folder)['wall_s']:.1f} s")
        seconds: dict[str, list[dict[str, float]]] = {"nothing to do": [], "logreg's C swapped": []}
        for i in range(rounds + 1):
            change(folder, ("heads", "logreg"), {"C": 0.1 + i / 1000})  # a value that no round had before
            swapped, idle = repro(folder), repro(folder)
            if i:
                seconds["logreg's C swapped"].append(swapped)
                seconds["nothing to do"].append(idle)
        for unit in ("wall_s", "cpu_s"):
            idle_s, swapped_s = ([each[unit] for each in of] for of in seconds.values())
            for what, each in zip(seconds, (idle_s, swapped_s), strict=True):
                print(f"{unit}: {what}: median {statistics.median(each):.2f} of {', '.join(f'{s:.2f}' for s in each)}")
            more = statistics.median(s - i for s, i in zip(swapped_s, idle_s, strict=True))
            print(f"{unit}: a swap takes {more:.2f} s more")


if __name__ == "__main__":
    main(sys.argv[1], *(int(argument) for argument in sys.argv[2:]))
