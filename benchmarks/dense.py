"""Heads of pictures with masks: what the one pass saves, how few cells suffice, and the memory of a fit.

    python -m benchmarks.dense speed DATA WEIGHTS
    python -m benchmarks.dense shares DATA WEIGHTS
    python -m benchmarks.dense memory [GIGABYTES [FOLDER]]

DATA is a folder of images/SPLIT and masks/SPLIT as CamVid's, with the splits train and val (which is test here, and
val at once), WEIGHTS a file for torchvision's squeezenet1_1.

- speed: `extract` and `fit` of pixel_linear in processes of a project without any cache, against a loop in torch that
  passes the frozen network every epoch to train the same linear classifier of cells, ten epochs. Processor's seconds.
- shares: the mIoU of pixel_linear on 1 to 100 % of the cells of one layer.
- memory: the peak of a fit on a made-up store of maps of so many gigabytes (20), in a process of its own.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.clock import Clock
from icebox.features.abc.targets import Mask
from icebox.features.manifest.manifest import ManifestRow
from icebox.features.store import index, shards, targets
from icebox.features.store.feature_store import FeatureStore
from icebox.features.store.shard_cache.places import RowLocation

CLASSES = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"]
SIZE = (360, 480)
CELLS, LAYERS = (45, 60), (4, 7, 10, 12)
OUTPUTS = ["features.4:map-45x60", *(f"features.{layer}:map" for layer in LAYERS[1:])]
PARAMS = """
datasets:
  roads: {{source: image_masks, path: {data}, classes: {classes}, ignore: [11], splits: {{train: train, val: test}},
          split: {{val: 0.1, test: 0, leakage: drop}}}}
backbones: {{squeezenet: {{family: torchvision, model: squeezenet1_1, weights: {weights}}}}}
stores: {{roads: {{dataset: roads, backbone: squeezenet, outputs: {outputs}, size: [360, 480]}}}}
heads: {{pixel_linear: {{C: 0.003}}}}
fit: {{refit: train+val, class_weights: sqrt}}
"""
STAGES = ("check", "manifest roads", "fetch squeezenet", "extract roads", "fit roads-pixel_linear")
EPOCHS, BATCH, RATE = 10, 8, 1e-3
SHARES = (0.002, 0.01, 0.05, 0.2, 1.0)
MADE_UP = "made up"


def speed(data: Path, weights: Path) -> None:
    """Print the seconds of both ways, and what they reach."""
    with tempfile.TemporaryDirectory() as name:
        folder, seconds = Path(name), {}
        write_project(folder, data, weights, OUTPUTS)
        for stage in STAGES:
            with Clock() as clock:
                icebox(folder, stage)
            seconds[stage] = clock.seconds
            print(f"icebox {stage}: {clock.seconds['cpu_s']:.0f} s of the processor, {clock.seconds['wall_s']:.0f} s")
        scores = json.loads((folder / "results/metrics/roads/pixel_linear.json").read_text())["test"]
    ours = {kind: sum(each[kind] for each in seconds.values()) for kind in ("cpu_s", "wall_s")}
    print(f"ours: {ours['cpu_s']:.0f} s of the processor, {ours['wall_s']:.0f} s, test mIoU {scores['miou']:.3f}")
    child = [sys.executable, "-m", "benchmarks.dense", "loop", str(data), str(weights)]
    with Clock() as clock:
        reached = subprocess.run(child, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    loop = clock.seconds
    print(f"loop: {loop['cpu_s']:.0f} s of the processor, {loop['wall_s']:.0f} s, test mIoU {reached}")
    print(
        f"{loop['cpu_s'] / ours['cpu_s']:.1f} times the processor's seconds, "
        f"{loop['wall_s'] / ours['wall_s']:.1f} times the time"
    )


def write_project(folder: Path, data: Path, weights: Path, outputs: Sequence[str]) -> None:
    """Write a params.yaml."""
    text = PARAMS.format(
        data=data.resolve(), weights=weights.resolve(), classes=json.dumps(CLASSES), outputs=json.dumps(list(outputs))
    )
    (folder / "params.yaml").write_text(text)


def icebox(folder: Path, stage: str) -> None:
    """Run a stage in a project."""
    environment = os.environ | {"PYTHONPATH": str(Path.cwd()), "DVC_NO_ANALYTICS": "true"}
    subprocess.run([sys.executable, "-m", "icebox", *stage.split()], cwd=folder, check=True, env=environment)


def loop(data: Path, weights: Path) -> float:
    """Train a linear classifier of cells behind the frozen network, which every epoch passes anew; the mIoU on test."""
    import torch
    from torch.nn.functional import cross_entropy, interpolate

    from icebox.features import compat

    compat.allow_mismatched_torchvision()
    from safetensors.torch import load_file
    from torchvision.models import squeezenet1_1

    from icebox.pipeline.evaluation.dense_tasks import segmentation
    from icebox.pipeline.evaluation.dense_tasks.segmentation import SegmentationSample

    torch.manual_seed(0)
    network = squeezenet1_1(weights=None)
    network.load_state_dict(load_file(weights), strict=False)
    layers = network.features.eval().requires_grad_(requires_grad=False)
    classifier = torch.nn.Conv2d(1280, len(CLASSES), 1)
    norm = torch.nn.BatchNorm2d(1280, affine=False)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=RATE)
    mean, deviation = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))

    def logits(paths: Sequence[Path]) -> torch.Tensor:
        images = np.stack([pixels(path) for path in paths])
        x = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - mean) / deviation
        seen = []
        with torch.no_grad():
            for number, layer in enumerate(layers):
                x = layer(x)
                if number in LAYERS:
                    seen.append(interpolate(x, size=CELLS, mode="bilinear", align_corners=False))
        return classifier(norm(torch.cat(seen, dim=1)))

    train, test = (sorted((data / "images" / split).glob("*.jpg")) for split in ("train", "val"))
    order = np.random.default_rng(0)
    for _ in range(EPOCHS):
        shuffled = order.permutation(len(train))
        for start in range(0, len(train), BATCH):
            paths = [train[i] for i in shuffled[start : start + BATCH]]
            truth = torch.from_numpy(np.stack([mask_of(path) for path in paths]).astype(np.int64))
            fine = interpolate(logits(paths), size=SIZE, mode="bilinear", align_corners=False)
            optimizer.zero_grad()
            cross_entropy(fine, truth, ignore_index=11).backward()
            optimizer.step()
    norm.eval()
    counts = []
    with torch.inference_mode():
        for path in test:
            fine = interpolate(logits([path]), size=SIZE, mode="bilinear", align_corners=False)
            truth = mask_of(path).astype(np.int16)
            truth[truth == 11] = -1
            counts.append(segmentation.confusion(truth, fine[0].argmax(0).numpy(), len(CLASSES)))
    return float(segmentation.mean_iou(SegmentationSample(np.stack(counts))))


def pixels(path: Path) -> np.ndarray:
    """A picture (h, w, 3) uint8."""
    from PIL import Image

    return np.asarray(Image.open(path).convert("RGB"))


def mask_of(path: Path) -> np.ndarray:
    """The mask (h, w) of a picture."""
    from PIL import Image

    name = path.parts[-2:]
    return np.asarray(Image.open((path.parents[2] / "masks" / name[0] / name[1]).with_suffix(".png")))


def shares(data: Path, weights: Path) -> None:
    """Print the mIoU by the share of cells; those of the one layer that fits into memory whole."""
    from icebox.pipeline.config.fit import Fit
    from icebox.pipeline.config.schema import PluginEntry
    from icebox.pipeline.data import dense
    from icebox.pipeline.fitting import dense_fit, head_factory

    dense.CELL_BYTES = 1 << 40
    with tempfile.TemporaryDirectory() as name:
        write_project(Path(name), data, weights, ["features.7:map"])
        for stage in STAGES[:-1]:
            icebox(Path(name), stage)
        store = FeatureStore(Path(name) / "data/stores/roads")
        pictures = dense.load(store)
        factory = head_factory.create(PluginEntry("pixel_linear", {}), "segmentation", "heads.pixel_linear")
        for share in SHARES:
            candidates = [{"C": c, "share": share} for c in (0.001, 0.01, 0.1)]
            fit = Fit(choose="miou", refit="train+val", class_weights="sqrt")
            result = dense_fit.fit_head(factory, candidates, pictures, fit, where="shares")
            cells = len(pictures.draw_cells(pictures.train_and_val, share=share, seed=0))
            first = result.seeds[0]
            print(
                f"{share:.1%} of the cells ({cells:,}): val {result.search.scores['miou']:.4f}, "
                f"test {first.tests['test'].scores['miou']:.4f}, {first.fitted.fit_s:.1f} s, {result.search.parameters}"
            )


def make(
    folder: Path, pictures: int, *, size: tuple[int, int] = CELLS, depth: int = 1280, shard: int = 8, classes: int = 6
) -> None:
    """Write a store of maps (h, w, d) float16 and its masks, of stripes, where each class has a vector of its own."""
    random = np.random.default_rng(0)
    h, w = size
    noise = random.standard_normal((h, w, depth), np.float32).astype(np.float16)
    vectors = random.standard_normal((classes, depth), np.float32).astype(np.float16)
    folder.mkdir(parents=True)
    masks, written, rows = [], [], []
    for i in range(pictures):
        stripes = (np.arange(w) + random.integers(0, w)) * classes // w % classes
        masks.append(np.tile(stripes, (h, 1)).astype(np.int16))
        split = "test" if i % 10 == 0 else "val" if i % 10 == 1 else "train"
        rows.append(
            ManifestRow(item_id=f"{i}", item_key="", label=Mask(masks[-1]).digest, split=split, group="", source="")
        )
    for start in range(0, pictures, shard):
        of_shard = masks[start : start + shard]
        maps = np.stack([np.roll(noise, start + j, axis=1) + vectors[mask] for j, mask in enumerate(of_shard)])
        keys = [f"{start + j:064x}" for j in range(len(of_shard))]
        path = shards.write(folder, store_fingerprint=MADE_UP, item_keys=keys, features={"layer:map": maps}, errors={})
        written.append(shards.read(path))
    names = [f"class{number}" for number in range(classes)]
    targets.write(folder, [row.item_id for row in rows], map(Mask, masks), task="segmentation", classes=names)
    places = {"identity": [RowLocation(written[i // shard], i % shard) for i in range(pictures)]}
    spec = {"outputs": ["layer:map"], "family": MADE_UP, "precision": "float32", "stored": "float16"}
    index.write(folder, rows=rows, places=places, spec=spec, fingerprint=MADE_UP, skipped={}, odd={})


def fit_made_up(folder: Path, family: str) -> None:
    """Fit a head on a made-up store and print the peak of memory."""
    from icebox.pipeline.config.fit import Fit
    from icebox.pipeline.config.schema import PluginEntry
    from icebox.pipeline.data import dense
    from icebox.pipeline.evaluation import peak_memory
    from icebox.pipeline.fitting import dense_fit, head_factory

    settings = {"pixel_conv": {"width": 16, "epochs": 1}}.get(family, {"share": 0.05})
    data = dense.load(FeatureStore(folder))
    factory = head_factory.create(PluginEntry(family, {}), "segmentation", f"heads.{family}")
    started_s = time.perf_counter()
    result = dense_fit.fit_head(factory, [settings], data, Fit(choose="miou"), where="memory")
    print(
        f"{family} on {len(data.item_ids):,} pictures: peak {peak_memory.peak_bytes() / 1e6:,.0f} MB, "
        f"{time.perf_counter() - started_s:.0f} s, test mIoU {result.seeds[0].tests['test'].scores['miou']:.3f}"
    )


def memory(gigabytes: float, folder: Path) -> None:
    """Write a store of so many gigabytes, and fit heads on it, each in a process of its own."""
    store = folder / "made-up"
    if not store.exists():
        make(store, round(gigabytes * 1e9 / (2 * CELLS[0] * CELLS[1] * 1280)))
    print(f"{sum(path.stat().st_size for path in store.iterdir()) / 1e9:.1f} GB")
    for family in ("pixel_linear", "pixel_mlp", "pixel_conv"):
        subprocess.run([sys.executable, "-m", "benchmarks.dense", "fit", str(store), family], check=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["speed", data, weights]:
            speed(Path(data), Path(weights))
        case ["loop", data, weights]:
            print(f"{loop(Path(data), Path(weights)):.3f}")
        case ["shares", data, weights]:
            shares(Path(data), Path(weights))
        case ["fit", store, family]:
            fit_made_up(Path(store), family)
        case ["memory", *rest]:
            with tempfile.TemporaryDirectory() as name:
                memory(float(rest[0]) if rest else 20, Path(rest[1] if len(rest) > 1 else name))
        case _:
            sys.exit(__doc__)
