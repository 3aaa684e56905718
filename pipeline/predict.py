"""`predict`: new images or texts, through the bundle's backbone and head, to CSV with a probability a class."""

import csv
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from features.backbones.base import Backbone
from features.datasets.base import Content
from features.datasets.image_folder import SUFFIXES
from features.errors import IceboxError, ItemError
from features.extract import fingerprint_of
from features.precision import as_stored
from pipeline import backbone, bundle, paths, search

BATCH_SIZE = 64
STDIN = "-"


def run(name: str, inputs: Sequence[str], *, out: Path | None = None, trust: bool = False) -> None:
    """Label the inputs with the head STORE/HEAD and print CSV, or write it to `out`."""
    store, _, head = name.partition("/")
    if not head:
        raise IceboxError(f"predict {name}: expected STORE/HEAD, such as digits-glyphnet/logreg")
    opened = bundle.load(paths.bundle(store, head), trust=trust)
    network = backbone.load(opened.backbone, opened.family, opened.outputs, precision=opened.precision)
    if fingerprint_of({**network.spec, "stored": opened.stored}) != opened.fingerprint:
        raise IceboxError(
            f"predict {name}: the backbone in {paths.backbone(opened.backbone)} is not the one this head was fitted on "
            f"(fingerprints differ); run: dvc repro fit@{store}-{head}"
        )
    items = images(inputs) if network.modality == "image" else texts(inputs)
    if out:
        with out.open("w", newline="", encoding="utf-8") as stream:
            write(stream, opened, network, items)
    else:
        write(sys.stdout, opened, network, items)


def write(stream: Any, opened: bundle.Bundle, network: Backbone, items: Iterator[tuple[str, Content]]) -> None:
    """CSV: input, label, and `p_CLASS` (or `score_CLASS` of a head without probabilities)."""
    writer = csv.writer(stream, lineterminator="\n")
    head = opened.head
    kind = "p" if hasattr(head, "predict_proba") else "score"
    writer.writerow(["input", "label", *(f"{kind}_{name}" for name in opened.classes)])
    while batch := list(islice(items, BATCH_SIZE)):
        features = encode(network, batch, opened)
        said = search.answers(head, features)
        for (name, _), label, row in zip(batch, said.predicted, said.scores, strict=True):
            writer.writerow([name, opened.classes[label], *(f"{value:.6f}" for value in row)])


def encode(network: Backbone, batch: Sequence[tuple[str, Content]], opened: bundle.Bundle) -> np.ndarray:
    """Features (b, d) float32 as the store holds them: rounded to its format, outputs side by side."""
    prepared = []
    for name, content in batch:
        try:
            prepared.append(network.prepare(content))
        except ItemError as reason:
            raise IceboxError(f"{name}: {reason}") from reason
    arrays = network.encode(prepared)
    rounded = [as_stored(arrays[output], opened.stored).astype(np.float32) for output in opened.outputs]
    return np.concatenate([values.reshape(len(batch), -1) for values in rounded], axis=1)


def images(inputs: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """(path, bytes) of each image file, and of those in each folder, however deep."""
    if not inputs:
        raise IceboxError("predict: expected image files or folders of them, found none")
    for name in inputs:
        path = Path(name)
        if not path.exists():
            raise IceboxError(f"{path}: no such file or folder")
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
        if not files:
            raise IceboxError(f"{path}: expected images in this folder, found none")
        for file in files:
            yield str(file), file.read_bytes()


def texts(inputs: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(text, text) of each line of the files, or of stdin; empty lines are left out."""
    for name in inputs or [STDIN]:
        try:
            lines = sys.stdin.read() if name == STDIN else Path(name).read_text(encoding="utf-8")
        except OSError as reason:
            raise IceboxError(f"{name}: expected a text file of one text a line: {reason}") from reason
        for line in lines.splitlines():
            if text := line.strip():
                yield text, text
