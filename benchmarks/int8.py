"""Milliseconds a picture of a network alone in int8, against torch and OpenVINO in float32, and how far features move.

    OMP_NUM_THREADS=1 python -m benchmarks.int8 FOLDER NETWORK [WEIGHTS] [ROUNDS]

FOLDER holds JPEGs: 192 calibrate and try the network, and 32 are timed. WEIGHTS is a file, else they are random.
Seconds are the process's own; each round takes every way in turn.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.runtimes import processor
from icebox.features import fingerprint
from icebox.features.backbones import torchvision
from icebox.features.extraction import quantization
from icebox.features.manifest.manifest import ManifestRow

TIMED = 32


def main(folder: Path, name: str, weights: str, rounds: int) -> None:
    """Print a line a way, and the features' error."""
    path = Path(tempfile.mkdtemp()) / name
    torchvision.fetch(path, model=name, weights=weights)
    output = "features:avg" if name.startswith("squeezenet") else "last"
    network, other = (torchvision.load(path, outputs=[output], device="cpu", precision="float32") for _ in range(2))
    files = sorted(folder.rglob("*.jpg"))
    rows = [
        ManifestRow(
            item_id=str(file), item_key=fingerprint.of_content(file.read_bytes()), label="", split="train", group="",
            source=str(file),
        )
        for file in files
    ]  # fmt: skip
    began = time.perf_counter()
    quantized = quantization.calibrate(other, rows, lambda file: Path(file).read_bytes(), "identity", origin="")
    print(f"{name}: {quantization.summary(quantized)}; ready after {time.perf_counter() - began:.0f} s")
    prepared = [network.prepare(file.read_bytes()) for file in files[:TIMED]]
    seconds: dict[str, list[float]] = {"torch, float32": [], "OpenVINO, float32": [], "OpenVINO, int8": []}
    for way in [*seconds] * (rounds + 1):
        if way != "OpenVINO, int8":
            network.use_runtime(way.split(",")[0].lower())
        candidate = other if way == "OpenVINO, int8" else network
        candidate.encode(prepared)
        start = time.process_time()
        candidate.encode(prepared)
        seconds[way].append(time.process_time() - start)
    for way, spent in seconds.items():
        ratio = statistics.median(first / own for first, own in zip(seconds["torch, float32"], spent, strict=True))
        print(f"{name} {way:18} {1000 * statistics.median(spent) / TIMED:7.2f} ms  {ratio:5.2f}× torch")


if __name__ == "__main__":
    torch.set_num_threads(1)
    numbers = [int(word) for word in sys.argv[2:] if word.isdecimal()]
    folder, name, *others = [word for word in sys.argv[1:] if not word.isdecimal()]
    print(f"{processor()}, one thread")
    main(Path(folder), name, *(others or ["random"]), *(numbers or [5]))
