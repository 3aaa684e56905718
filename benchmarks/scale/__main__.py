"""Each stage's seconds and peak memory on stores of 20,000, 100,000 and 1,000,000 × 512 float16.

Run in the project's root: python -m benchmarks.scale [--items N,N] [--stages look,fit] [--folder DIR]

Items are made from their number as they are read, and so are their features, by a "network" that takes microseconds:
all that is measured is Icebox's own. Each stage runs as a user runs it, as a process of its own: its seconds by the
clock and of the processor, and the peak of its resident memory (VmHWM, touched pages of mapped files included). A
project that is in the folder already is used again.
"""

import argparse
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.clock import Clock

ITEMS = (20_000, 100_000, 1_000_000)
PLUGINS = Path(__file__).parent / "plugins"
PARAMS = """\
datasets:
  made: {{items: {items}}}
backbones:
  made: {{}}
stores:
  made: {{dataset: made, backbone: made, stored: float16}}
heads:
  {heads}
fit: {{search: grid}}
ensembles:
  made: {{members: 2}}
"""
HEADS = {
    "centroid": "{}",
    "ridge": "{alpha: 1.0}",
    "linear_probe": "{learning_rate: 0.01}",
    "logreg": "{C: 0.1}",
    "lightgbm": "{n_estimators: 20}",
}
STAGES: dict[str, list[str]] = {
    "check": ["check"],
    "manifest": ["manifest", "made"],
    "fetch": ["fetch", "made"],
    "extract": ["extract", "made"],
    "extract again": ["extract", "made"],
    "look": ["look", "made"],
    **{f"fit {head}": ["fit", f"made/{head}"] for head in HEADS},
    "ensemble": ["ensemble", "made"],
    "report": ["report"],
    "compare": ["compare", "--json"],
    "predict": ["predict", "made/logreg", "new.txt", "--out", "answers.parquet"],
    "export": ["store", "export", "made", "--to", "exported.npz"],
    "manifest +1%": ["manifest", "made"],
    "extract +1%": ["extract", "made"],
}  # in this order
OPENING = """
import time; began = time.perf_counter()
import numpy as np
from icebox.features.store.feature_store import FeatureStore
imported = time.perf_counter()
store = FeatureStore("data/stores/made"); opened = time.perf_counter()
rows = np.random.default_rng(0).integers(0, len(store), 1000)
store.load_items(rows); first = time.perf_counter()
store.load_items(np.sort(rows) // 2); again = time.perf_counter()
print(f"import {imported - began:.2f} s, open {opened - imported:.3f} s, 1,000 random rows {first - opened:.3f} s, "
      f"another 1,000 {again - first:.3f} s")
"""
PEAK = """
import atexit, pathlib, sys
from icebox.pipeline.cli import app
from icebox.pipeline.evaluation.peak_memory import peak_bytes
code = app.main(sys.argv[2:])
pathlib.Path(sys.argv[1]).write_text(str(peak_bytes()))
sys.exit(code)
"""


def measure(folder: Path, items: int, wanted: list[str], *, direct: bool) -> dict[str, dict[str, float]]:
    """Seconds by the clock and of the processor, and peak MB, of each wanted stage, printed as they end."""
    make_project(folder, items)
    measured: dict[str, dict[str, float]] = {}
    for name, arguments in STAGES.items():
        if wanted and not any(name.startswith(each) for each in wanted):
            continue
        if name == "extract" and direct:
            subprocess.run([sys.executable, "-m", "benchmarks.scale.direct", str(folder), str(items)], check=True)
            continue
        if name.endswith("+1%"):
            write_params(folder, items + items // 100)
        if name == "predict":
            (folder / "new.txt").write_text("".join(f"{i} {i} {i % 10}\n" for i in range(2 * items, 3 * items)))
        peak = folder / "peak"
        peak.unlink(missing_ok=True)
        with Clock() as clock:
            ended = subprocess.run(
                [sys.executable, "-c", PEAK, peak.name, *arguments],
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
        seconds = clock.seconds["wall_s"]
        (folder / f"{name.replace(' ', '-').replace('%', '')}.log").write_text(ended.stdout[-5000:] + ended.stderr)
        if ended.returncode:
            print(f"  {name:18} failed after {seconds:.1f} s: {ended.stderr.strip()[-400:]}", flush=True)
            continue
        measured[name] = {**clock.seconds, "peak_mb": int(peak.read_text()) / 1e6}
        print(
            "  {name:18} {wall_s:8.1f} s {cpu_s:8.1f} s {peak_mb:8,.0f} MB".format(name=name, **measured[name]),
            flush=True,
        )
        if name == "extract":
            opened = subprocess.run(
                [sys.executable, "-c", OPENING], cwd=folder, capture_output=True, text=True, check=True
            )
            print(f"  {opened.stdout.strip()}", flush=True)
    return measured


def make_project(folder: Path, items: int) -> None:
    """A project with the plugins of this benchmark, unless there is one."""
    if not (folder / "params.yaml").exists():
        subprocess.run([sys.executable, "-m", "icebox", "init", str(folder), "--recipe", "mnist"], check=False)
        shutil.copytree(PLUGINS, folder / "plugins", dirs_exist_ok=True)
    write_params(folder, items)


def write_params(folder: Path, items: int) -> None:
    """params.yaml for so many items."""
    heads = "\n  ".join(f"{name}: {settings}" for name, settings in HEADS.items())
    (folder / "params.yaml").write_text(PARAMS.format(items=items, heads=heads))


def main() -> None:
    """Measure each size, and print the ratios between them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", default=",".join(map(str, ITEMS)))
    parser.add_argument("--stages", default="")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--heads", default=",".join(HEADS))
    parser.add_argument("--direct", action="store_true", help="write the store's shards without the stage extract")
    options = parser.parse_args()
    root = options.folder or Path(tempfile.mkdtemp())
    wanted = [each for each in options.stages.split(",") if each]
    for name in HEADS.keys() - set(options.heads.split(",")):
        del HEADS[name], STAGES[f"fit {name}"]
    results: dict[int, dict[str, dict[str, float]]] = {}
    for items in map(int, options.items.split(",")):
        print(f"{items:,} items", flush=True)
        results[items] = measure(root / str(items), items, wanted, direct=options.direct)
        (root / f"{items}.json").write_text(json.dumps(results[items], indent=1))
        if not options.folder:
            shutil.rmtree(root / str(items))
    sizes = sorted(results)
    for small, large in itertools.pairwise(sizes):
        print(f"{large:,} against {small:,}")
        for name in results[large].keys() & results[small].keys():
            times = results[large][name]["cpu_s"] / results[small][name]["cpu_s"]
            print(f"  {name:18} {times:.1f} times the processor's seconds")


if __name__ == "__main__":
    main()
