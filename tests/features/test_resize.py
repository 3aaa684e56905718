import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from features import headless
from features.resize import fusible, part, resized_crop

TRANSFORMS = headless.library().transforms
RECIPES = [(256, 224, "bilinear"), (232, 224, "bicubic"), (342, 299, "bicubic"), (224, 224, "bilinear")]


def trusted(picture: Image.Image, shorter: int, crop: int, interpolation: str) -> np.ndarray:
    """torchvision's own two steps."""
    functional = TRANSFORMS.functional
    whole = functional.resize(picture, [shorter], TRANSFORMS.InterpolationMode(interpolation))
    return np.asarray(functional.center_crop(whole, [crop]))


def ours(picture: Image.Image, shorter: int, crop: int, interpolation: str) -> np.ndarray:
    return np.asarray(resized_crop(picture, shorter=shorter, crop=(crop, crop), interpolation=interpolation))


def apart(picture: Image.Image, *recipe) -> tuple[int, float]:
    """(largest difference in levels, share of the values that differ at all)."""
    difference = np.abs(ours(picture, *recipe).astype(int) - trusted(picture, *recipe))
    return int(difference.max()), float((difference > 0).mean())


def noise(width: int, height: int) -> Image.Image:
    """The hardest picture there is: neighbours have nothing in common."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(
    "size", [(500, 375), (375, 500), (640, 480), (1024, 683), (1200, 900), (512, 512), (333, 500), (448, 448)]
)
def test_it_is_within_a_level_in_a_thousandth_of_the_values_of_torchvisions_two_steps(size, recipe):
    largest, share = apart(noise(*size), *recipe)
    assert largest <= 1
    assert share <= 0.001


@settings(max_examples=40, deadline=None)
@given(width=st.integers(8, 700), height=st.integers(8, 700), recipe=st.sampled_from(RECIPES))
@example(width=426, height=277, recipe=RECIPES[0])  # 142:131
@example(width=275, height=412, recipe=RECIPES[0])  # the worst of 1,487 sizes
@example(width=300, height=700, recipe=RECIPES[0])  # Pillow takes the columns first
@example(width=112, height=147, recipe=(96, 80, "bilinear"))  # 7:6
def test_whatever_the_size_it_stays_close(width, height, recipe):
    largest, share = apart(noise(width, height), *recipe)
    assert largest <= 1
    assert share <= 0.002


@pytest.mark.parametrize("size", [(100, 80), (300, 700), (20, 500)])
def test_enlarged_and_tall_pictures_are_exactly_torchvisions(size):
    assert not fusible(size, 256)
    assert apart(noise(*size), 256, 224, "bilinear") == (0, 0.0)


@pytest.mark.parametrize(("shorter", "crop"), [(64, 80), (64, 71), (65, 80)])
def test_a_crop_larger_than_the_picture_is_black_around_it_as_torchvisions_is(shorter, crop):
    assert apart(noise(130, 130), shorter, crop, "bilinear") == (0, 0.0)


def test_grey_gives_the_same_values_as_grey_repeated_in_three_colours():
    grey = noise(500, 375).convert("L")
    three = ours(grey.convert("RGB"), *RECIPES[0])
    assert np.array_equal(np.stack([ours(grey, *RECIPES[0])] * 3, axis=2), three)


def test_edges_that_32_bits_hold_are_kept_and_others_moved_outwards():
    assert (part(16, 240, of=256, source=375).low, part(16, 240, of=256, source=375).high) == (23.4375, 351.5625)
    moved = part(8, 88, of=96, source=224)  # 7:3, whole at multiples of 3
    assert (moved.start, moved.stop, moved.low, moved.high) == (6, 90, 14, 210)


@pytest.mark.real_data
def test_real_photos_are_within_a_level_in_a_thousandth_of_the_values():
    if "ICEBOX_REAL_DATA" not in os.environ:
        pytest.skip("ICEBOX_REAL_DATA names no folder of real data")
    files = sorted((Path(os.environ["ICEBOX_REAL_DATA"]) / "flowers5").rglob("*.jpg"))[::100]
    for file in files:
        photo = Image.open(file).convert("RGB")
        for picture in (photo, photo.resize((500, 375), Image.Resampling.BICUBIC)):
            for recipe in (*RECIPES, (200, 176, "bilinear")):
                largest, share = apart(picture, *recipe)
                assert largest <= 1
                assert share <= 0.001
