"""Predict new images or texts with a saved head: through the bundle's backbone and head, to CSV."""

import csv
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from icebox.features.abc.backbone import Backbone
from icebox.features.abc.dataset import Content, Pair
from icebox.features.errors import IceboxError, ItemError
from icebox.features.extraction.extract import fingerprint_of
from icebox.features.extraction.precision import to_storage_dtype
from icebox.features.extraction.views import prepare
from icebox.features.images.decoding import IMAGE_SUFFIXES
from icebox.features.ragged import flat
from icebox.features.text import cleaning
from icebox.features.text.pairs import PAIR, TEXTS, combine_pairs
from icebox.pipeline.catalog import backbones
from icebox.pipeline.evaluation import predictions
from icebox.pipeline.inference import bundle
from icebox.pipeline.inference.bundle import Bundle
from icebox.pipeline.project import paths

BATCH_SIZE = 64
STDIN = "-"

NamedItem = tuple[str, Content]  # a path or a line of text, for the CSV, and the content


def to_csv(name: str, inputs: Sequence[str], *, out: Path | None = None, trust: bool = False) -> None:
    """Predict the inputs with the head STORE/HEAD, and print the CSV or write it to `out`."""
    opened, backbone = open_head(name, trust=trust)
    items: Iterator[NamedItem] = image_files(inputs) if backbone.modality == "image" else text_lines(inputs)
    if opened.pairs:
        items = parse_pairs(items)
    if out:
        with out.open("w", newline="", encoding="utf-8") as stream:
            write(stream, opened, backbone, items)
    else:
        write(sys.stdout, opened, backbone, items)


def open_head(name: str, *, trust: bool = False) -> tuple[Bundle, Backbone]:
    """The bundle of the head STORE/HEAD and the backbone that it was fitted on.

    Raises IceboxError where either is missing, or where the backbone has changed since.
    """
    store, _, head = name.partition("/")
    if not head:
        raise IceboxError(f"predict {name}: expected STORE/HEAD, such as digits-glyphnet/logreg")
    opened = bundle.load(paths.bundle(store, head), trust=trust)
    backbone = backbones.load(
        opened.backbone, opened.family, opened.outputs, precision=opened.precision, **opened.options
    )
    if fingerprint_of({**backbone.spec, "stored": opened.stored}) != opened.fingerprint:
        raise IceboxError(
            f"predict {name}: the backbone in {paths.backbone(opened.backbone)} is not the one this head was fitted on "
            f"(fingerprints differ); run: dvc repro fit@{store}-{head}"
        )
    return opened, backbone


def write(stream: Any, opened: Bundle, backbone: Backbone, items: Iterator[NamedItem]) -> None:
    """Write the columns input, label (of a regression the value) and, by class, `p_CLASS`, or `score_CLASS` of a head
    without probabilities."""
    writer = csv.writer(stream, lineterminator="\n")
    head = opened.head
    kind = "p" if hasattr(head, "predict_proba") else "score"
    writer.writerow(["input", "label", *(f"{kind}_{name}" for name in opened.classes)])
    for batch, features in feature_batches(opened, backbone, items):
        if opened.task == "regression":
            values = head.predict(features)
            writer.writerows([name, f"{value:.6g}"] for (name, _), value in zip(batch, values, strict=True))
            continue
        predicted = predictions.predict(head, features, len(opened.classes))
        for (name, _), label, scores in zip(batch, predicted.predicted, predicted.scores, strict=True):
            writer.writerow([name, opened.classes[label], *(f"{value:.6f}" for value in scores)])


def feature_batches(
    opened: Bundle, backbone: Backbone, items: Iterator[NamedItem]
) -> Iterator[tuple[list[NamedItem], np.ndarray]]:
    """(b items, their features (b, d)), texts cleaned as those that the head was fitted on."""
    if opened.clean:
        items = clean_texts(items, opened.clean)
    while batch := list(islice(items, BATCH_SIZE)):
        yield batch, encode(backbone, batch, opened)


def encode(backbone: Backbone, batch: Sequence[NamedItem], opened: Bundle) -> np.ndarray:
    """Features (b, d) float32 in the form in which the head was fitted on them: rounded to the store's number format,
    outputs side by side, in the bundle's view."""
    if opened.view != PAIR:
        return encode_view(backbone, batch, opened, opened.view)
    return combine_pairs(*(encode_view(backbone, batch, opened, view) for view in TEXTS))


def encode_view(backbone: Backbone, batch: Sequence[NamedItem], opened: Bundle, view: str) -> np.ndarray:
    """Features (b, d) float32 in one of the views that are stored. Raises ItemError for an item that can't be read."""
    prepared = []
    for name, content in batch:
        try:
            prepared.append(prepare(backbone, content, view))
        except ItemError as error:
            raise error.at(name) from error
    features = backbone.encode(prepared)
    columns = [flat(features[output]).reshape(len(batch), -1) for output in opened.head_outputs or opened.outputs]
    return np.concatenate([to_storage_dtype(each, opened.stored).astype(np.float32) for each in columns], axis=1)


def image_files(inputs: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """(path, bytes) of each image file, and of those in each folder, however deep."""
    if not inputs:
        raise IceboxError("predict: expected image files or folders of them, found none")
    for name in inputs:
        path = Path(name)
        if not path.exists():
            raise IceboxError(f"{path}: no such file or folder")
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES) if path.is_dir() else [path]
        if not files:
            raise IceboxError(f"{path}: expected images in this folder, found none")
        for file in files:
            yield str(file), file.read_bytes()


def text_lines(inputs: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(text, text) of each line of the files, or of stdin; empty lines are left out."""
    for name in inputs or [STDIN]:
        try:
            lines = sys.stdin.read() if name == STDIN else Path(name).read_text(encoding="utf-8")
        except OSError as reason:
            raise IceboxError(f"{name}: expected a text file of one text a line: {reason}") from reason
        for line in lines.splitlines():
            if text := line.strip():
                yield text, text


def clean_texts(items: Iterator[NamedItem], steps: Sequence[str]) -> Iterator[NamedItem]:
    """Texts cleaned by the steps by which those that the head was fitted on were cleaned."""
    for name, content in items:
        match content:
            case str():
                yield name, cleaning.clean(content, steps)
            case Pair():
                yield name, Pair(*(cleaning.clean(text, steps) for text in (content.first, content.second)))
            case _:
                yield name, content


def parse_pairs(lines: Iterator[NamedItem]) -> Iterator[tuple[str, Pair]]:
    """(line, pair) of lines that hold two texts with a tab between them."""
    for line, _ in lines:
        first, tab, second = line.partition("\t")
        if not tab or "\t" in second:
            raise IceboxError(f"predict: expected two texts a line, a tab between them, found {line!r}")
        yield line, Pair(first.strip(), second.strip())
