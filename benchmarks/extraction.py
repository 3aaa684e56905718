"""Images/s and texts/s into a store, against other tools and against the network alone. Ratios, interleaved.

    python -m benchmarks.extraction images [ROUNDS]      python -m benchmarks.extraction texts [ROUNDS] [FILE]

Every contestant is a process of its own on one and the same core with one thread, since that is what is fair to tools
that read, compute and write one after the other. Peers come from .venv-bench (`make bench-env`).
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

IMAGES = 512
BATCH = 32
MINILM = "data/backbones/minilm"


def make_images(folder: Path) -> None:
    """JPEGs of 500×375 with the detail and the size (about 60 kB) of photos."""
    random = np.random.default_rng(0)
    (folder / "a").mkdir(parents=True)
    for i in range(IMAGES):
        coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8)).resize(
            (500, 375), Image.Resampling.BICUBIC
        )
        fine = Image.fromarray(random.integers(0, 256, (375, 500, 3), np.uint8)).filter(ImageFilter.GaussianBlur(1.5))
        Image.blend(coarse, fine, 0.35).save(folder / f"a/{i:04}.jpg", quality=90)


def make_texts(file: Path) -> None:
    """1,000 varied sentences: docstrings' first paragraphs, cut to between 3 and 60 words."""
    from features import manifest

    rows = manifest.read(Path("data/manifests/docstrings.csv"))
    random = np.random.default_rng(0)
    chosen = random.permutation(len(rows))[:1000]
    lines = [" ".join(rows[i].source.split()[: int(random.integers(3, 61))]) for i in chosen]
    file.write_text("\n".join(lines) + "\n")


def ours(kind: str, source: Path, *, compiled: bool) -> dict[str, float]:
    """Seconds from files to a finished store, and of the same network on tensors in memory."""
    from features import manifest
    from features.backbones import torchvision, transformers
    from features.datasets.base import Item
    from features.extract import extract
    from features.precision import resolve

    work = Path(tempfile.mkdtemp())
    precision = resolve("auto", "cpu")
    if kind == "images":
        torchvision.fetch(work / "net", model="resnet18", weights="random")
        network = torchvision.load(work / "net", outputs=["last"], device="cpu", precision=precision)
        files = sorted(source.rglob("*.jpg"))
        items = [Item(item_id=f.name, source=str(f), label="a") for f in files]
        content_of = lambda name: Path(name).read_bytes()  # noqa: E731
    else:
        network = transformers.load(Path(MINILM), outputs=["last:mean"], device="cpu", precision=precision)
        items = [Item(item_id=str(i), source=t, label="a") for i, t in enumerate(source.read_text().splitlines())]
        content_of = lambda text: text  # noqa: E731

    class Source:
        def items(self):  # type: ignore[no-untyped-def]
            return iter(items)

        read = staticmethod(content_of)

    size = BATCH if kind == "images" else len(items)
    prepared = [network.prepare(content_of(item.source)) for item in items]
    if compiled:
        network.compile(BATCH)
    network.encode(prepared[:BATCH])
    began = time.perf_counter()
    rows = list(manifest.build(Source(), val=0.2, test=0.2, seed=0))  # type: ignore[arg-type]
    extract(rows, read=content_of, backbone=network, cache_root=work / "cache", store=work / "store", batch_size=BATCH,
            workers=1, stored="float16")  # fmt: skip
    store_s = time.perf_counter() - began
    began = time.perf_counter()
    for start in range(0, len(prepared), size):
        network.encode(prepared[start : start + size])
    return {"store_s": store_s, "network_s": time.perf_counter() - began}


def child(*command: str) -> str:
    """The last line that a command prints, run on core 0 with one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MINILM": MINILM, "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        command, env=environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {0}),
    )  # fmt: skip
    return done.stdout.strip().splitlines()[-1]


def main(kind: str, rounds: int = 5, file: str = "") -> None:
    """Interleave the contestants and print medians and ratios."""
    work = Path(tempfile.mkdtemp())
    source = work / "images" if kind == "images" else Path(file or work / "texts.txt")
    if kind == "images":
        make_images(source)
    elif not file:
        make_texts(source)
    count = IMAGES if kind == "images" else len(source.read_text().splitlines())
    peers = ["img2vec", "timm", "loader"] if kind == "images" else ["sentences"]
    variants = ["eager", "compiled"] if kind == "images" else ["eager"]
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        for peer in peers:
            spent = float(child(".venv-bench/bin/python", "-m", "benchmarks.peers", peer, str(source)))
            seconds.setdefault(peer, []).append(spent)
        for variant in variants:
            found = json.loads(child(sys.executable, "-m", "benchmarks.extraction", "ours", kind, str(source), variant))
            seconds.setdefault(f"icebox {variant}", []).append(found["store_s"])
            seconds.setdefault(f"network alone {variant}", []).append(found["network_s"])
    rates = {name: count / statistics.median(values) for name, values in seconds.items()}
    for name, rate in rates.items():
        print(f"{name:22} {rate:8.1f} {kind}/s   (seconds: {', '.join(f'{s:.2f}' for s in sorted(seconds[name]))})")
    for variant in variants:
        ratios = [f"{peer} {rates[f'icebox {variant}'] / rates[peer]:.2f}×" for peer in peers]
        limit = rates[f"icebox {variant}"] / rates[f"network alone {variant}"]
        print(f"icebox {variant} against {', '.join(ratios)}; of the network alone {limit:.2f}")


if __name__ == "__main__":
    if sys.argv[1] == "ours":
        print(json.dumps(ours(sys.argv[2], Path(sys.argv[3]), compiled=sys.argv[4] == "compiled")))
    else:
        main(sys.argv[1], *(int(a) for a in sys.argv[2:3]), *sys.argv[3:])
