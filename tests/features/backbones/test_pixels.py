import subprocess
import sys

import numpy as np
import pytest

from icebox.features import plugins
from icebox.features.backbones import pixels
from icebox.features.errors import IceboxError
from icebox.pipeline.config import plugin_schema


def loaded(folder, **settings):
    pixels.fetch(folder, **settings)
    return pixels.load(folder, outputs=["last"], device="cpu")


def test_pixels_are_the_means_of_equal_areas_from_0_to_1(tmp_path):
    picture = np.array([[0, 0, 255, 255], [0, 0, 255, 255], [51, 51, 0, 102], [51, 51, 0, 102]], dtype=np.uint8)
    backbone = loaded(tmp_path, size=2)
    features = backbone.encode([backbone.prepare(picture)])["last"]
    assert features.dtype == np.float32
    assert np.allclose(features, [[0, 1, 0.2, 0.2]])


def test_colour_triples_the_features_and_keeps_each_pixel_together(tmp_path):
    picture = np.zeros((2, 2, 3), dtype=np.uint8)
    picture[0, 1] = (255, 0, 51)
    backbone = loaded(tmp_path, size=2, grey=False)
    assert np.allclose(backbone.encode([backbone.prepare(picture)])["last"][0, 3:6], [1, 0, 0.2])


def test_a_picture_of_the_right_size_is_left_as_it_is(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    backbone = loaded(tmp_path)
    assert np.array_equal(backbone.prepare(picture)["last"], picture)


def test_settings_that_matter_are_in_the_spec(tmp_path):
    specs = [loaded(tmp_path, **settings).spec for settings in ({}, {"size": 4}, {"grey": False})]
    assert specs[0] != specs[1] != specs[2] != specs[0]


def test_there_is_no_other_output_and_no_size_below_one(tmp_path):
    pixels.fetch(tmp_path)
    with pytest.raises(IceboxError, match="pixels have last, color:map and color:map-HxW, found features:avg"):
        pixels.load(tmp_path, outputs=["features:avg"], device="cpu")
    file = plugins.file("icebox.features.backbones", "pixels")
    with pytest.raises(IceboxError, match=r"backbones\.p\.size: expected int at least 1.*, found 0$"):
        plugin_schema.check(file, "fetch", {"size": 0}, where="backbones.p")
    pixels.fetch(tmp_path, size=0)  # what Python gives unchecked never becomes features
    with pytest.raises(IceboxError, match=r"backbone\.json: expected a whole number from 1 .* at size, found 0$"):
        pixels.load(tmp_path, outputs=["last"], device="cpu")


def test_pixels_do_not_cost_an_import_of_torch():
    code = "import sys, features.backbones.pixels; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_map_of_colors_has_each_cells_mean_and_position(tmp_path):
    pixels.fetch(tmp_path)
    backbone = pixels.load(tmp_path, outputs=["color:map-2x1", "last"], device="cpu")
    picture = np.zeros((4, 2, 3), np.uint8)
    picture[:2] = 255
    features = backbone.encode([backbone.prepare(picture)])
    np.testing.assert_allclose(features["color:map-2x1"], [[[[1, 1, 1, 0.5, 0.25]], [[0, 0, 0, 0.5, 0.75]]]])
    assert features["last"].shape == (1, 64)
    with pytest.raises(IceboxError, match="outputs: pixels have last, color:map and color:map-HxW, found grey:map"):
        pixels.load(tmp_path, outputs=["grey:map"], device="cpu")
