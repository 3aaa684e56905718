"""Savings of the caches in end-to-end training: the head fitted on features, and activations behind the frozen part.

    python -m benchmarks.unfreezing DATA WEIGHTS [ROUNDS [PAIR …]]

DATA is a folder of class folders with pictures, WEIGHTS a file for torchvision's squeezenet1_1. One thread, one core.
Each contestant is a process (or three) of its own in a project of its own without any cache, so that its extraction
counts; each round has a seed of its own. Seconds are the processor's, with and without what starting Python and loading
libraries takes, which is the same for five pictures and for five million.

- all, some: ten epochs with the network frozen, then five with all blocks freed (at 128 px) or the last three (at 224
  px), in one training that passes the whole network every epoch; against extracting, fitting logreg, and five epochs.
- cut: ten epochs with the last block freed, at 128 px, with the cut and without.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.clock import Clock

PARAMS = """
datasets: {{photos: {{source: image_folder, path: {data}, split: {{leakage: drop}}}}}}
backbones: {{squeezenet: {{family: torchvision, model: squeezenet1_1, weights: {weights}}}}}
stores:
  small: {{dataset: photos, backbone: squeezenet, outputs: ['features:avg'], size: 128}}
  large: {{dataset: photos, backbone: squeezenet, outputs: ['features:avg'], size: 224}}
heads: {{logreg: {{C: [0.001, 0.01, 0.1, 1.0]}}, fresh: {{}}}}
unfreeze:
  all_end_to_end: {{store: small, seed: {seed}, start: fresh, epochs: 15, free: {{0: none, 10: all}}, cut: 'off'}}
  all_from_head: {{store: small, seed: {seed}, start: logreg, epochs: 5, free: all}}
  some_end_to_end: {{store: large, seed: {seed}, start: fresh, epochs: 15, free: {{0: none, 10: last 3}}, cut: 'off'}}
  some_from_head: {{store: large, seed: {seed}, start: logreg, epochs: 5, free: last 3}}
  cut_without: {{store: small, seed: {seed}, start: logreg, epochs: 10, free: last 1, cut: 'off'}}
  cut_with: {{store: small, seed: {seed}, start: logreg, epochs: 10, free: last 1, cut: 'on'}}
run: {{workers: 1}}
"""
STORES = ("small", "large")
SHARED = [
    "check",
    "manifest photos",
    "fetch squeezenet",
    *(f"extract {store}" for store in STORES),
    *(f"fit {store}-{head}" for store in STORES for head in ("logreg", "fresh")),
]
PAIRS = {  # name → (the slow way, ours, store, whether ours has features to extract and a head to fit first)
    "all": ("all_end_to_end", "all_from_head", "small", True),
    "some": ("some_end_to_end", "some_from_head", "large", True),
    "cut": ("cut_without", "cut_with", "small", False),
}
LOADS = """
import icebox.pipeline.config.loader, icebox.pipeline.stages.{stage}, icebox.features.backbones.torchvision
from icebox.features import compat
compat.allow_mismatched_torchvision()
import torchvision
"""


@dataclass(frozen=True)
class Measurement:
    """Processor seconds of one contestant, those without starting Python and loading libraries, and its accuracy."""

    all_s: float
    working_s: float
    accuracy: float


def python(folder: Path, *arguments: str) -> float:
    """Run Python in a folder, on one core → its processor seconds."""
    one = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    environment = os.environ | one | {"PYTHONPATH": str(Path.cwd())}
    with Clock() as clock:
        subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, check=True, capture_output=True)
    return clock.seconds["cpu_s"]


def measure(project: Path, folder: Path, name: str, store: str, *, from_features: bool) -> Measurement:
    """One unfreezing, in a copy of the project without caches."""
    shutil.copytree(project, folder)
    shutil.rmtree(folder / ".icebox")
    stages = {"unfreeze": name}
    if from_features:
        stages = {"extract": store, "fit": f"{store}-logreg", **stages}
    all_s = sum(python(folder, "-m", "pipeline", stage, key) for stage, key in stages.items())
    starting_s = sum(python(folder, "-c", LOADS.format(stage=stage)) for stage in stages)
    metrics = json.loads((folder / f"results/metrics/{store}/{name}.json").read_text())
    shutil.rmtree(folder)
    return Measurement(all_s, all_s - starting_s, metrics["test"]["accuracy"])


def main(data: str, weights: str, rounds: str = "5", *pairs: str) -> None:
    """Print a line for each round and pair, then the medians of their ratios."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    measurements: dict[str, list[tuple[Measurement, Measurement]]] = {pair: [] for pair in pairs or PAIRS}
    with tempfile.TemporaryDirectory() as temporary:
        project = Path(temporary) / "project"
        project.mkdir()
        for number in range(int(rounds)):
            params = PARAMS.format(data=Path(data).resolve(), weights=Path(weights).resolve(), seed=number)
            (project / "params.yaml").write_text(params)
            for line in SHARED if number == 0 else SHARED[:1]:
                python(project, "-m", "pipeline", *line.split())
            for pair, pairs_of_runs in measurements.items():
                slow_name, ours_name, store, from_features = PAIRS[pair]
                slow = measure(project, Path(temporary) / "run", slow_name, store, from_features=False)
                ours = measure(project, Path(temporary) / "run", ours_name, store, from_features=from_features)
                pairs_of_runs.append((slow, ours))
                print(f"{number}: {pair}: {slow} against ours {ours}", flush=True)
    for pair, pairs_of_runs in measurements.items():
        for part in ("all_s", "working_s"):
            ratios = [getattr(ours, part) / getattr(slow, part) for slow, ours in pairs_of_runs]
            print(f"{pair}, {part}: {statistics.median(ratios):.2f} of it, {min(ratios):.2f} to {max(ratios):.2f}")
        slow_mean, ours_mean = (
            statistics.mean(one.accuracy for one in side) for side in zip(*pairs_of_runs, strict=True)
        )
        print(f"{pair}: mean accuracy {slow_mean:.4f}, ours {ours_mean:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
