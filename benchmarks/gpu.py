"""Files into a store on a GPU, against the network alone on inputs that lie in the GPU's memory.

    python -m benchmarks.gpu [ITEMS [ROUNDS [WORKERS]]]

JPEGs of 500×375 through resnet50 and vit_b_16, sentences of 3 to 60 words through a network of BERT-base's shape;
random weights, `precision: auto`, stored as float16, batches of 256. Ours counts reading, hashing, decoding or
tokenizing, and the finished store. Interleaved; the ratio is the median of the rounds' own, by the clock.
"""

import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter

from icebox.features.abc.dataset import Content, Dataset, Item, Modality
from icebox.features.backbones import torchvision, transformers
from icebox.features.extraction.extract import extract
from icebox.features.extraction.precision import resolve_for_device
from icebox.features.manifest.build import build
from icebox.features.nn.backbone import TorchBackbone

BATCH = 256
NETWORKS = ("resnet50", "vit_b_16", "bert-base")
WORDS = 2000


def jpeg(file: Path, seed: int) -> None:
    """Write a JPEG of 500×375 with the detail and the size of a photo."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8)).resize((500, 375))
    fine = Image.fromarray(random.integers(0, 256, (375, 500, 3), np.uint8)).filter(ImageFilter.GaussianBlur(1))
    Image.blend(coarse, fine, 0.5).save(file, quality=90)


def sentences(count: int) -> list[str]:
    """Sentences of made-up words."""
    random = np.random.default_rng(0)
    return [" ".join(f"w{word}" for word in random.integers(0, WORDS, random.integers(3, 61))) for _ in range(count)]


def bert_base(folder: Path) -> None:
    """Write a network of BERT-base's shape with random weights and a tokenizer of words."""
    from transformers import BertConfig, BertModel

    folder.mkdir(parents=True)
    torch.manual_seed(0)
    BertModel(BertConfig()).save_pretrained(folder)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(WORDS))]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "model_max_length": 512})
    )


def load(name: str, folder: Path, precision: str) -> TorchBackbone:
    """A network on the GPU."""
    net = folder / name
    if name == "bert-base":
        if not net.exists():
            bert_base(folder / "bert-files")
            transformers.fetch(net, weights=str(folder / "bert-files"))
        return transformers.load(net, outputs=["last:mean"], device="cuda", precision=precision)  # type: ignore[return-value]
    if not net.exists():
        torchvision.fetch(net, model=name, weights="random")
    return torchvision.load(net, outputs=["last"], device="cuda", precision=precision)


def content_of(name: str) -> Content:
    """A file's bytes, or the text itself."""
    return Path(name).read_bytes() if name.endswith(".jpg") else name


class Source(Dataset):
    """Items of these names."""

    def __init__(self, names: Sequence[str], modality: Modality) -> None:
        self.names, self.modality = names, modality

    def items(self) -> Iterator[Item]:
        """Every item."""
        return (Item(item_id=str(i), source=name, label="ab"[i % 2]) for i, name in enumerate(self.names))

    def read(self, source: str) -> Content:
        """A file's bytes, or the text itself."""
        return content_of(source)


def seconds(work: Callable[[], object]) -> float:
    """Seconds by the clock until the GPU has finished."""
    torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def main(count: int = 8192, rounds: int = 5, workers: int = 16) -> None:
    """Print a line a network."""
    folder = Path(tempfile.mkdtemp())
    (folder / "images").mkdir()
    files = [folder / f"images/{i:06}.jpg" for i in range(count)]
    with ProcessPoolExecutor() as pool:
        list(pool.map(jpeg, files, range(count), chunksize=64))
    names = {"image": [str(file) for file in files], "text": sentences(count)}
    precision = resolve_for_device("auto", "cuda")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {precision}, {workers} workers, {count} items")
    for name in NETWORKS:
        network = load(name, folder, precision)
        contents = names[network.modality]
        prepared = [network.prepare(content_of(content)) for content in contents[: 4 * BATCH]]
        with torch.inference_mode():
            order = (
                [row for rows in network.sub_batches(prepared) for row in rows]
                if network.whole_shards
                else range(4 * BATCH)
            )
            parts = [
                network.inputs([prepared[i] for i in order[start : start + BATCH]])
                for start in range(0, 4 * BATCH, BATCH)
            ]

        def alone() -> None:
            with torch.inference_mode():
                for i in range(count // BATCH):
                    network.layer_outputs(parts[i % len(parts)])  # noqa: B023

        def ours() -> None:
            rows = list(build(Source(contents, network.modality), val=0.2, test=0.2, seed=0))  # noqa: B023
            work = folder / "work"
            extract(rows, read=content_of, backbone=network, cache_root=work / "cache", store=work / "store",  # noqa: B023
                    batch_size=BATCH, workers=workers, stored="float16")  # fmt: skip

        taken: list[tuple[float, float]] = []
        for turn in range(rounds + 1):
            taken.append((seconds(ours), seconds(alone)))
            shutil.rmtree(folder / "work")
            if not turn:
                taken.clear()  # warm-up
        ratio = statistics.median(limit / own for own, limit in taken)
        ours_s, alone_s = (statistics.median(each) for each in zip(*taken, strict=True))
        print(f"{name:10} ours {count / ours_s:8.0f} a second, network alone {count / alone_s:8.0f}: {ratio:.2f} of it")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
