"""Levels spread anew: a picture and the same exposed otherwise come out more alike."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image, ImageOps

from icebox.features import plugins
from icebox.features.datasets import image_folder, image_table, webdataset
from icebox.features.errors import IceboxError
from icebox.features.images.contrast import clahe, with_contrast
from icebox.pipeline.config import plugin_schema


def scene(seed: int = 0, *, size: tuple[int, int] = (96, 120)) -> np.ndarray:
    """A soft picture with some texture, uint8 (h, w)."""
    random = np.random.default_rng(seed)
    soft = Image.fromarray(random.integers(40, 220, (8, 10)).astype(np.uint8)).resize(
        size[::-1], Image.Resampling.BICUBIC
    )
    return np.clip(np.asarray(soft) + random.normal(0, 4, size), 0, 255).astype(np.uint8)


def darker(pixels: np.ndarray) -> np.ndarray:
    """The same scene with less light and a flatter range."""
    return (255 * (pixels / 255) ** 1.6 * 0.7 + 10).astype(np.uint8)


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize(("contrast", "remains"), [("equalize", 0.1), ("clahe", 0.7)])
def test_a_scene_that_was_exposed_otherwise_comes_out_more_alike(contrast, remains):
    bright = scene()
    dark = darker(bright)
    before = distance(bright, dark)
    after = distance(with_contrast(bright, contrast), with_contrast(dark, contrast))
    assert after < remains * before


def test_equalize_is_pillows():
    assert (with_contrast(scene(), "equalize") == np.asarray(ImageOps.equalize(Image.fromarray(scene())))).all()


def test_clahe_raises_contrast_of_a_flat_place_and_no_more_than_its_limit():
    flat = np.full((80, 80), 120, np.uint8)
    flat[::2] += 4
    spread = clahe(flat)
    assert 4 < int(spread.max()) - int(spread.min()) < 24
    assert np.abs(clahe(np.full((64, 64), 77, np.uint8)).astype(int) - 77).max() <= 2


def test_maps_blend_between_tiles():
    ramp = np.tile(np.linspace(0, 255, 160).astype(np.uint8), (160, 1))
    steps = np.abs(np.diff(clahe(ramp).astype(int), axis=1))
    assert steps.max() <= 12  # no edge where tiles meet


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (7, 300), (64, 64)])
def test_pictures_of_any_size_keep_it(size):
    assert with_contrast(scene(size=size), "clahe").shape == size


def test_color_keeps_its_hue_and_files_are_decoded():
    color = np.dstack([scene(), scene() // 2, scene() // 4])
    stream = io.BytesIO()
    Image.fromarray(color).save(stream, "PNG")
    spread = with_contrast(stream.getvalue(), "clahe")
    assert spread.shape == color.shape
    assert (spread == with_contrast(color, "clahe")).all()
    assert (spread[..., 0] >= spread[..., 1]).mean() > 0.99


def test_without_one_and_of_what_is_no_picture_the_content_stays():
    assert with_contrast(b"no picture", "clahe") == b"no picture"
    content = b"anything"
    assert with_contrast(content, "none") is content


def test_sources_read_pictures_with_it(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(scene()).save(tmp_path / name / "1.png")
    (tmp_path / "t.csv").write_text("image,label\na/1.png,a\nb/1.png,b\n")
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        archive.add(tmp_path / "a" / "1.png", "1.png")
        (tmp_path / "1.cls").write_text("a")
        archive.add(tmp_path / "1.cls", "1.cls")
    shards = tmp_path / "shards"
    shards.mkdir()
    (tmp_path / "s.tar").rename(shards / "s.tar")
    for source in (
        image_folder.Source(path=tmp_path, contrast="clahe"),
        image_table.Source(path=tmp_path / "t.csv", image="image", label="label", contrast="clahe"),
        webdataset.Source(path=shards, contrast="clahe"),
    ):
        first = next(iter(source.items()))
        assert (source.read(first.source) == clahe(scene())).all()


def test_an_unknown_contrast_is_refused_before_anything_runs():
    file = plugins.file("icebox.features.datasets", "image_folder")
    with pytest.raises(IceboxError, match=r"datasets\.x\.contrast: expected .*clahe.*found 'more'"):
        plugin_schema.check(file, "Source.__init__", {"path": "x", "contrast": "more"}, where="datasets.x")
