"""Images/s and texts/s into a store, against other tools and against the network alone. Ratios, interleaved.

    python -m benchmarks.extraction images [ROUNDS] [IMAGES]      python -m benchmarks.extraction texts [ROUNDS] [FILE]
    python -m benchmarks.extraction cores [ROUNDS] [IMAGES]

`cores` is Icebox with its default settings on all cores against one, by the clock. In the others each contestant is a
process of its own on one and the same core with one thread, since that is what is fair to tools that read, compute and
write one after the other. Seconds are the processor's, all threads and child processes counted, so that other work on
the machine blurs them little; on an idle one they are the clock's, which is printed beside.
Peers come from .venv-bench (`make bench-env`).
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from benchmarks.clock import Clock

IMAGES = 512
BATCH = 32
MINILM = "data/backbones/minilm"
PEERS = {"images": ["img2vec", "timm", "loader"], "texts": ["sentences"]}
LIMITS = {"images": ["eager", "compiled"], "texts": ["eager"]}


def make_images(folder: Path, count: int) -> None:
    """JPEGs of 500×375 with the detail and the size (56 kB) of photos."""
    random = np.random.default_rng(0)
    (folder / "a").mkdir(parents=True)
    for i in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8)).resize(
            (500, 375), Image.Resampling.BICUBIC
        )
        fine = Image.fromarray(random.integers(0, 256, (375, 500, 3), np.uint8)).filter(ImageFilter.GaussianBlur(1))
        Image.blend(coarse, fine, 0.5).save(folder / f"a/{i:04}.jpg", quality=90)


def make_texts(file: Path) -> None:
    """1,000 varied sentences: docstrings' first paragraphs, cut to between 3 and 60 words."""
    from icebox.features.datasets.docstrings import Source

    dataset = Source()
    rows = list(dataset.items())
    random = np.random.default_rng(0)
    chosen = random.permutation(len(rows))[:1000]
    lines = [" ".join(dataset.read(rows[i].source).split()[: int(random.integers(3, 61))]) for i in chosen]
    file.write_text("\n".join(lines) + "\n")


def contents_of(kind: str, source: Path) -> list[str]:
    """File names, or texts."""
    return list(map(str, sorted(source.rglob("*.jpg")))) if kind == "images" else source.read_text().splitlines()


def network_of(kind: str, work: Path):  # type: ignore[no-untyped-def]
    """Our ResNet-18 with random weights, or MiniLM."""
    from icebox.features.backbones import torchvision, transformers
    from icebox.features.extraction.precision import resolve_for_device

    precision = resolve_for_device("auto", "cpu")
    if kind == "texts":
        return transformers.load(Path(MINILM), outputs=["last:mean"], device="cpu", precision=precision)
    torchvision.fetch(work / "net", model="resnet18", weights="random")
    return torchvision.load(work / "net", outputs=["last"], device="cpu", precision=precision)


def ours(kind: str, source: Path, way: str) -> Clock:
    """Time from files to a finished store, the manifest counted; compiling, which takes 10 to 30 s, is not."""
    from icebox.features.abc.dataset import Content, Dataset, Item
    from icebox.features.extraction.extract import extract
    from icebox.features.manifest.build import build

    work = Path(tempfile.mkdtemp())
    network = network_of(kind, work)
    items = [Item(item_id=str(i), source=name, label="ab"[i % 2]) for i, name in enumerate(contents_of(kind, source))]

    class Source(Dataset):
        modality = "image" if kind == "images" else "text"

        def items(self) -> Iterator[Item]:
            return iter(items)

        def read(self, source: str) -> Content:
            return Path(source).read_bytes() if kind == "images" else source

    dataset = Source()
    first = [network.prepare(dataset.read(item.source)) for item in items[:BATCH]]
    network.encode(first)
    network.compile(BATCH if way == "compiled" else None)
    network.encode(first)
    with Clock() as clock:
        rows = list(build(dataset, val=0.2, test=0.2, seed=0))
        extract(rows, read=dataset.read, backbone=network, cache_root=work / "cache", store=work / "store",
                batch_size=BATCH, workers=2 if way == "defaults" else 1, stored="float16")  # fmt: skip
    return clock


def limit(kind: str, source: Path, way: str) -> Clock:
    """Time of the network alone: its inputs are in memory, its outputs are dropped."""
    network = network_of(kind, Path(tempfile.mkdtemp()))
    contents = contents_of(kind, source)
    if kind == "texts":
        prepared = [network.prepare(text) for text in contents]
        network.encode(prepared[:BATCH])
        with Clock() as clock:
            network.encode(prepared)
        return clock
    prepared = [network.prepare(Path(name).read_bytes()) for name in contents[:BATCH]]
    network.encode(prepared)
    size = network.sub_batch_size(prepared)
    network.compile(BATCH if way == "compiled" else None)
    batches = [network.inputs(prepared[start : start + size]) for start in range(0, BATCH, size)]
    network.layer_outputs(batches[0])
    with Clock() as clock:
        for _ in range(len(contents) // BATCH):
            for batch in batches:
                network.layer_outputs(batch)
    return clock


def child(*command: str, all_cores: bool = False) -> dict[str, float]:
    """Run a command on one core with one thread, or on all cores with its own choice → the JSON of its last line."""
    environment = os.environ | {"MINILM": MINILM}
    if not all_cores:
        environment |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    cores = os.sched_getaffinity(0)
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores if all_cores else {min(cores)}),
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    seconds: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return seconds


def cores(rounds: int = 5, images: str = "") -> None:
    """Icebox's defaults on all cores against one, by the clock."""
    source = Path(tempfile.mkdtemp()) / "images"
    make_images(source, int(images or IMAGES))
    command = [sys.executable, "-m", "benchmarks.extraction", "ours", "images", str(source), "defaults"]
    ratios = []
    for _ in range(rounds):
        one, all_ = child(*command), child(*command, all_cores=True)
        ratios.append(one["wall_s"] / all_["wall_s"])
        print(f"one core {one['wall_s']:.1f} s, all {all_['wall_s']:.1f} s: {ratios[-1]:.2f} ×", flush=True)
    print(f"{len(os.sched_getaffinity(0))} cores: median {statistics.median(ratios):.2f} × one")


def main(kind: str, rounds: int = 5, what: str = "") -> None:
    """Interleave the contestants and print medians and ratios. `what` is the number of images, or the file of texts."""
    work = Path(tempfile.mkdtemp())
    source = work / "images" if kind == "images" else Path(what or work / "texts.txt")
    if kind == "images":
        make_images(source, int(what or IMAGES))
    elif not what:
        make_texts(source)
    count = len(contents_of(kind, source))
    me = [sys.executable, "-m", "benchmarks.extraction"]
    contestants = {
        name: [".venv-bench/bin/python", "-m", "benchmarks.peers", name, str(source)] for name in PEERS[kind]
    }
    for way in LIMITS[kind]:
        contestants[f"icebox, {way}"] = [*me, "ours", kind, str(source), way]
    limits = {f"network alone, {way}": [*me, "limit", kind, str(source), way] for way in LIMITS[kind]}
    seconds: dict[str, list[dict[str, float]]] = {name: [] for name in contestants | limits}
    for _ in range(rounds):
        for name, command in (contestants | limits).items():
            seconds[name].append(child(*command))
    for name, rows in seconds.items():
        used, wall = (statistics.median(row[key] for row in rows) for key in ("cpu_s", "wall_s"))
        print(f"{name:25} {count / used:7.1f} {kind}/s of processor, {count / wall:7.1f} by the clock")
    for way in LIMITS[kind]:
        for name in [*PEERS[kind], f"network alone, {way}"]:
            ratios = [
                other["cpu_s"] / own["cpu_s"]
                for other, own in zip(seconds[name], seconds[f"icebox, {way}"], strict=True)
            ]
            rounds_ = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            print(f"icebox, {way}: {statistics.median(ratios):.2f}× {name} (rounds: {rounds_})")


if __name__ == "__main__":
    if sys.argv[1] == "ours":
        print(json.dumps(ours(sys.argv[2], Path(sys.argv[3]), sys.argv[4]).seconds))
    elif sys.argv[1] == "limit":
        print(json.dumps(limit(sys.argv[2], Path(sys.argv[3]), sys.argv[4]).seconds))
    elif sys.argv[1] == "cores":
        cores(*(int(a) for a in sys.argv[2:3]), *sys.argv[3:])
    else:
        main(sys.argv[1], *(int(a) for a in sys.argv[2:3]), *sys.argv[3:])
