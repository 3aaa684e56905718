import io
import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from icebox.features.errors import ItemError
from icebox.features.images import crops
from icebox.features.weights import torchvision_models

PIXELS = np.arange(16 * 24, dtype=np.uint16).reshape(16, 24).astype(np.uint8)


def test_a_mirrored_picture_has_left_and_right_exchanged():
    np.testing.assert_array_equal(crops.mirror(PIXELS), PIXELS[:, ::-1])


@pytest.mark.parametrize("number", range(5))
def test_five_crops_are_those_of_torchvision(number):
    place = ("top-left", "top-right", "bottom-left", "bottom-right", "centre")[number]
    expected = torchvision_models.library().transforms.functional.five_crop(torch.from_numpy(PIXELS), [14, 14])[number]
    np.testing.assert_array_equal(crops.crop_view(PIXELS, f"five-crop.{place}"), expected)


@given(width=st.integers(1, 400), height=st.integers(1, 400), seed=st.integers(0, 2**64))
def test_a_drawn_crop_lies_in_the_picture_and_is_of_the_ratios_and_areas_allowed(width, height, seed):
    left, upper, right, lower = crops.random_crop_box(Image.new("L", (width, height)), random.Random(seed))
    assert 0 <= left < right <= width
    assert 0 <= upper < lower <= height
    if min(width, height) >= 100:
        assert 0.7 < (right - left) / (lower - upper) < 1.4
        assert 0.07 < (right - left) * (lower - upper) / (width * height) <= 1


def test_drawn_areas_are_spread_as_torchvisions_are():
    picture = Image.new("L", (200, 160))
    ours = [crops.random_crop_box(picture, random.Random(seed)) for seed in range(2000)]
    transform = torchvision_models.library().transforms.RandomResizedCrop
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = [transform.get_params(picture, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(2000)]
    areas = np.array([(right - left) * (lower - upper) for left, upper, right, lower in ours]) / 32_000
    trusted = np.array([h * w for _, _, h, w in theirs]) / 32_000
    np.testing.assert_allclose(np.quantile(areas, [0.1, 0.5, 0.9]), np.quantile(trusted, [0.1, 0.5, 0.9]), atol=0.05)


def test_a_random_crop_hangs_on_content_and_number_alone():
    one, again, other = (crops.crop_view(PIXELS, f"random-resized-crop.{number}") for number in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert one.shape != other.shape or (one != other).any()
    assert crops.crop_view(PIXELS[::-1], "random-resized-crop.1").shape != one.shape


def test_encoded_pictures_are_cut_as_decoded_ones_are():
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, "PNG")
    np.testing.assert_array_equal(crops.crop_view(stream.getvalue(), "five-crop.centre"), PIXELS[1:15, 5:19])
    with pytest.raises(ItemError):
        crops.mirror(b"no picture")
