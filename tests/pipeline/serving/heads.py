"""A head on tiny pictures or texts together with its store and raw data, in the working folder."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from icebox.features import fingerprint
from icebox.features.extraction.extract import extract
from icebox.features.manifest import manifest
from icebox.features.manifest.manifest import ManifestRow
from icebox.pipeline.catalog import backbones, datasets
from icebox.pipeline.inference.bundle import Bundle
from icebox.pipeline.project import paths
from tests.pipeline.inference.heads import fit

NOTES = {"good thing": "plus", "so good": "plus", "bad thing": "minus", "so bad": "minus"}


def fit_pictures(store: str = "photos") -> Bundle:
    """Eight pictures, of which the bright ones are "bright"."""
    folder = Path("raw") / store
    for grey in range(5, 250, 30):
        path = folder / ("bright" if grey > 120 else "dark") / f"{grey:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (6, 6), grey).save(path)
    return fit_dataset(store, "pixels", "image_folder", {"path": str(folder)})


def fit_texts(store: str = "notes") -> Bundle:
    """Four texts."""
    path = Path("raw") / f"{store}.csv"
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([("text", "label"), *NOTES.items()])
    return fit_dataset(store, "hashing", "csv_text", {"path": str(path), "text": "text", "label": "label"})


def fit_dataset(store: str, backbone: str, source: str, parameters: dict[str, str]) -> Bundle:
    """The head on all items of a dataset, its manifest and its store; all of them are train."""
    dataset = datasets.opened(source, parameters)
    items = list(dataset.items())
    labelled = [(dataset.read(item.source), item.label) for item in items]
    bundle = fit(store, labelled, backbone=backbone, source=source, parameters=parameters, dataset=store)
    rows = [
        ManifestRow(
            item_id=item.item_id,
            item_key=fingerprint.of_content(content),
            label=item.label,
            split="train",
            group="",
            source=item.source,
        )
        for item, (content, _) in zip(items, labelled, strict=True)
    ]
    manifest.write(paths.manifest(store), rows)
    loaded = backbones.load(backbone, backbone, ("last",), precision="float32")
    extract(
        rows,
        read=dataset.read,
        backbone=loaded,
        cache_root=Path(".icebox/shards"),
        store=paths.store(store),
        stored="float32",
    )
    return bundle


def as_array(grey: int) -> np.ndarray:
    return np.full((6, 6), grey, np.uint8)
