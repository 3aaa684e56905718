"""What the caches are worth when training end to end: the head fitted on features, and the cut behind the frozen part.

    python -m benchmarks.unfreezing DATA WEIGHTS [ROUNDS]

DATA is a folder of class folders with pictures, WEIGHTS a file for torchvision's squeezenet1_1. At 128 px, one thread,
one core. Each contestant is a process of its own in a project of its own without any cache, and its extraction counts;
seconds are the processor's.

- schedule: ten epochs with the network frozen, then five with the last K blocks freed, as one training that passes the
  whole network every epoch; against extracting, fitting logreg, and the five epochs alone.
- cut: ten epochs with the last block freed, with the cut and without.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.clock import Clock

PARAMS = """
select: {{stores: [photos], heads: [logreg, fresh]}}
datasets: {{photos: {{source: image_folder, path: {data}, split: {{leakage: drop}}}}}}
backbones: {{squeezenet: {{family: torchvision, model: squeezenet1_1, weights: {weights}}}}}
stores:
  photos: {{dataset: photos, backbone: squeezenet, extract: {{outputs: ['features:avg'], size: 128}}, fit: {{}}}}
heads: {{logreg: {{C: [0.001, 0.01, 0.1, 1.0]}}, fresh: {{}}}}
unfreeze:
  all_end_to_end: {{store: photos, start: fresh, free: {{0: none, 10: all}}, epochs: 15, cut: 'off'}}
  all_from_head: {{store: photos, start: logreg, free: all, epochs: 5}}
  three_end_to_end: {{store: photos, start: fresh, free: {{0: none, 10: last 3}}, epochs: 15, cut: 'off'}}
  three_from_head: {{store: photos, start: logreg, free: last 3, epochs: 5}}
  one_whole: {{store: photos, start: logreg, free: last 1, epochs: 10, cut: 'off'}}
  one_cut: {{store: photos, start: logreg, free: last 1, epochs: 10}}
extract: {{workers: 1}}
"""
SHARED = ["check", "manifest photos", "fetch squeezenet", "extract photos", "fit photos-logreg", "fit photos-fresh"]
PAIRS = {  # what is compared: (the slow way, ours); the first needs no features, the second pays for its own
    "schedule, all blocks": ("all_end_to_end", "all_from_head"),
    "schedule, last 3 blocks": ("three_end_to_end", "three_from_head"),
    "cut, last block": ("one_whole", "one_cut"),
}


def command(project: Path, *words: str) -> None:
    """Run `python -m pipeline …` in a project, on one core."""
    one = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    environment = os.environ | one | {"PYTHONPATH": str(Path.cwd())}
    subprocess.run(
        [sys.executable, "-m", "pipeline", *words], cwd=project, env=environment, check=True, capture_output=True
    )


def timed(made: Path, folder: Path, name: str, *, from_features: bool) -> tuple[float, float]:
    """(processor seconds, test accuracy) of one unfreezing, in a copy of the project without caches."""
    shutil.copytree(made, folder)
    shutil.rmtree(folder / ".icebox")
    with Clock() as clock:
        if from_features:
            command(folder, "extract", "photos")
            command(folder, "fit", "photos-logreg")
        command(folder, "unfreeze", name)
    metrics = json.loads((folder / f"results/metrics/photos/{name}.json").read_text())
    shutil.rmtree(folder)
    return clock.seconds["cpu_s"], metrics["test"]["accuracy"]


def main(data: str, weights: str, rounds: int = 5) -> None:
    """Print a line a round and pair, then the medians of their ratios."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary) / "made"
        made.mkdir()
        (made / "params.yaml").write_text(PARAMS.format(data=Path(data).resolve(), weights=Path(weights).resolve()))
        for line in SHARED:
            command(made, *line.split())
        found: dict[str, list[float]] = {pair: [] for pair in PAIRS}
        for number in range(rounds):
            for pair, (slow, ours) in PAIRS.items():
                is_schedule = pair.startswith("schedule")
                slow_s, slow_accuracy = timed(made, Path(temporary) / "run", slow, from_features=False)
                ours_s, ours_accuracy = timed(made, Path(temporary) / "run", ours, from_features=is_schedule)
                found[pair].append(ours_s / slow_s)
                print(
                    f"{number}: {pair}: {slow_s:.0f} s, accuracy {slow_accuracy:.3f}; ours {ours_s:.0f} s, "
                    f"{ours_accuracy:.3f}; ratio {ours_s / slow_s:.2f}",
                    flush=True,
                )
        for pair, ratios in found.items():
            print(f"{pair}: median {statistics.median(ratios):.2f} of the time, {min(ratios):.2f}–{max(ratios):.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
