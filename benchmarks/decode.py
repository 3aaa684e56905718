"""Speed of image decoding and resizing: Pillow with torchvision's transforms against Icebox's decoders, interleaved.

    python -m benchmarks.decode [PICTURES] [ROUNDS]

PICTURES JPEGs of 500×375 are made first (flowers where ICEBOX_REAL_DATA has them, else blurred noise, each with a
little grain, quality 90), and a quarter as many of 2000×1500 for `draft`. A round times each decoder once, in 1 and 2
threads; printed are medians, and the median of the rounds' ratios.
"""

import io
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from icebox.features.backbones.torchvision import TorchvisionBackbone
from icebox.features.nn.image_backbone import DRAFT, EXACT, FAST
from icebox.features.weights import torchvision_models

MODEL = "resnet18"
SMALL, LARGE = (500, 375), (2000, 1500)
THREADS = (1, 2)
Decoder = Callable[[bytes], Tensor]


def pictures(count: int, size: tuple[int, int]) -> list[bytes]:
    """`count` JPEGs of photographs, or of blurred noise, of a size (width, height)."""
    random = np.random.default_rng(0)
    folder = Path(os.environ.get("ICEBOX_REAL_DATA", "")) / "flowers5"
    files = sorted(folder.rglob("*.jpg")) if "ICEBOX_REAL_DATA" in os.environ else []
    jpegs = []
    for i in range(count):
        if files:
            picture = Image.open(files[i * 37 % len(files)]).convert("RGB")
        else:
            picture = Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        pixels = np.asarray(picture.resize(size, Image.Resampling.BICUBIC)) + random.normal(0, 3, (size[1], size[0], 1))
        stream = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=90)
        jpegs.append(stream.getvalue())
    return jpegs


def decoders() -> dict[str, Decoder]:
    """{name: JPEG → uint8 (3, 224, 224)}."""
    transforms = torchvision_models.library().transforms
    functional = transforms.functional
    steps = torchvision_models.preprocess_of(torchvision_models.published_weights(MODEL)["DEFAULT"])

    def reference(content: bytes) -> Tensor:
        picture = Image.open(io.BytesIO(content)).convert("RGB")
        picture = functional.resize(picture, steps["resize"], transforms.InterpolationMode(steps["interpolation"]))
        pixels: Tensor = functional.pil_to_tensor(functional.center_crop(picture, steps["crop"]))
        return pixels

    def ours(decode: str) -> Decoder:
        spec = {"preprocess": steps | {"decode": decode}}
        return TorchvisionBackbone(
            nn.Identity(), spec=spec, settings={}, outputs=[], precision="float32", device="cpu"
        ).prepare

    return {"Pillow + torchvision": reference} | {decode: ours(decode) for decode in (EXACT, FAST, DRAFT)}


def per_second(decoder: Decoder, contents: list[bytes], threads: int) -> float:
    """Pictures a second."""
    with ThreadPoolExecutor(threads) as pool:
        start = time.perf_counter()
        for _ in pool.map(decoder, contents):
            pass
        return len(contents) / (time.perf_counter() - start)


def main(count: int = 512, rounds: int = 7) -> None:
    """Print how far the decoders differ, then a line for each size, decoder and number of threads."""
    torch.set_num_threads(1)
    for size, many in ((SMALL, count), (LARGE, max(1, count // 4))):
        contents = pictures(many, size)
        print(f"{many} JPEGs of {size[0]}×{size[1]}, {statistics.mean(map(len, contents)) / 1000:.0f} kB on average")
        by_name = decoders()
        first, *others = by_name
        expected = torch.stack([by_name[first](content) for content in contents]).int()
        for name in others:
            differences = (torch.stack([by_name[name](content) for content in contents]).int() - expected).abs()
            share = (differences > 0).float().mean()
            print(f"  {name}: apart by at most {differences.max()}, in {share:.4%} of the values")
        speeds: dict[tuple[int, str], list[float]] = {(n, name): [] for n in THREADS for name in by_name}
        for _ in range(rounds):
            for (threads, name), measured in speeds.items():
                measured.append(per_second(by_name[name], contents, threads))
        for (threads, name), measured in speeds.items():
            ratio = statistics.median(a / b for a, b in zip(measured, speeds[threads, first], strict=True))
            print(f"  {threads} thread(s), {name}: {statistics.median(measured):.0f} pictures/s, ratio {ratio:.2f}")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
