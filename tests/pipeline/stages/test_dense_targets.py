"""Masks and boxes from params.yaml through manifest, extract and look, and what `store` says of them."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from icebox.features.errors import IceboxError
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.config import loader
from icebox.pipeline.exploration import results
from icebox.pipeline.project import paths
from icebox.pipeline.stages import check, extract, fetch, look, manifest
from icebox.pipeline.stores import export, info

PARAMS = """
datasets:
  streets: {source: image_masks, path: raw, classes: [sky, pole], on_error: ON_ERROR}
  cells: {source: image_boxes, path: boxes.csv, split: part}
backbones: {pixels: {}}
stores:
  streets-pixels: {dataset: streets, backbone: pixels, outputs: ['color:map']}
  cells-pixels: {dataset: cells, backbone: pixels, outputs: ['color:map-4x6']}
heads: {HEAD: {}}
"""
SPLITS = ["train", "train", "val", "test", "test"]


def params(head: str, *stores: str, on_error: str = "fail") -> loader.Config:
    """The project with these stores only, since a head is for one task."""
    lines = PARAMS.replace("HEAD", head).replace("ON_ERROR", on_error).splitlines()
    kept = [
        line
        for line in lines
        if not line.startswith(("  streets-", "  cells-")) or line.split(":")[0].strip() in stores
    ]
    paths.PARAMS.write_text("\n".join(kept))
    return loader.load()


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch, caplog) -> None:
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO, logger="icebox")
    rows = ["image,label,xmin,ymin,xmax,ymax,part"]
    for i, split in enumerate(SPLITS):
        for kind, content in (
            ("images", np.full((2, 3), 20 * i, np.uint8)),
            ("masks", np.array([[0, 1, 255]] * 2, np.uint8)),
        ):
            path = Path(f"raw/{kind}/{split}/{i}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(content).save(path)
        rows.append(f"raw/images/{split}/{i}.png,{'ab'[i % 2]},0,0,2,1,{split}")
    Path("boxes.csv").write_text("\n".join(rows))


@pytest.mark.parametrize(
    ("dataset", "head", "kind", "classes"),
    [("streets", "pixel_linear", "masks", ["sky", "pole"]), ("cells", "boxes", "boxes", ["a", "b"])],
)
def test_a_store_of_maps_has_targets_that_its_tools_know(dataset, head, kind, classes, caplog, tmp_path):
    store = f"{dataset}-pixels"
    config = params(head, store)
    manifest.run(config, dataset)
    assert f"{dataset}: 5 items of 2 classes (train 2, val 1, test 2)" in caplog.messages
    assert json.loads(paths.dataset_summary(dataset).read_text())["classes"] == classes
    fetch.run(config, "pixels")
    extract.run(config, store)
    opened = FeatureStore(paths.store(store))
    assert (len(opened.targets), list(opened.targets.classes)) == (5, classes)
    assert f"({kind} in targets.h5)" in info.describe(store)
    look.run(config, store)
    assert f"{store}: 2 test items mapped, 0 labels suspected" in caplog.messages
    assert results.read(store).nearest
    export.export(opened, tmp_path / "x.npz")
    assert "label is the sha256 of a picture's" in caplog.text


def test_a_changed_mask_stops_the_extraction_and_a_missing_one_can_be_skipped(caplog):
    config = params("pixel_linear", "streets-pixels")
    manifest.run(config, "streets")
    fetch.run(config, "pixels")
    mask = Path("raw/masks/train/0.png")
    Image.fromarray(np.array([[1, 1, 255]] * 2, np.uint8)).save(mask)
    with pytest.raises(IceboxError, match=r"streets-pixels: .*masks/train/0\.png holds another target"):
        extract.run(config, "streets-pixels")
    mask.unlink()
    with pytest.raises(IceboxError, match=r"datasets\.streets: item 'images/train/0\.png': .*there is no such mask"):
        manifest.run(config, "streets")
    manifest.run(params("pixel_linear", "streets-pixels", on_error="skip"), "streets")
    assert "items left out, since their target can't be used: 1, images/train/0.png: " in caplog.text


def test_a_table_of_pictures_and_masks_is_watched_with_both(tmp_path):
    Path("t.csv").write_text(
        "image,mask\nraw/images/train/0.png,raw/masks/train/0.png\nraw/images/test/3.png,raw/masks/test/3.png\n"
    )
    paths.PARAMS.write_text(
        PARAMS.replace("path: raw,", "path: t.csv,").replace("HEAD", "pixel_linear").replace("ON_ERROR", "fail")
        .replace("  cells-pixels: {dataset: cells, backbone: pixels, outputs: ['color:map-4x6']}\n", "")
    )  # fmt: skip
    config = loader.load()
    manifest.run(config, "streets")
    before = json.loads(paths.dataset_summary("streets").read_text())
    Image.fromarray(np.array([[1, 1, 0]] * 2, np.uint8)).save("raw/masks/train/0.png")
    manifest.run(config, "streets")
    assert json.loads(paths.dataset_summary("streets").read_text())["named"] != before["named"]


def test_classes_that_are_renamed_or_raw_data_that_changes_reach_the_store_and_on_error_the_manifest():
    def stamps(config: loader.Config) -> tuple[object, object]:
        made = check.settings(config)
        return made["datasets"]["streets"], made["extract"]["streets-pixels"]

    config = params("pixel_linear", "streets-pixels")
    manifest.run(config, "streets")
    dataset, store = stamps(config)
    assert stamps(config) == (dataset, store)
    skipping, _ = stamps(params("pixel_linear", "streets-pixels", on_error="skip"))
    assert skipping != dataset
    config.datasets["streets"].parameters["classes"] = ["heaven", "pole"]
    assert stamps(config)[1] != store
    config.datasets["streets"].parameters["classes"] = ["sky", "pole"]
    Path("raw/masks/notes.txt").write_text("new")
    assert stamps(config)[1] != store
