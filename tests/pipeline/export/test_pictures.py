"""The code of an export's folder prepares pictures as the backbones do, to the bit, without any of Icebox."""

import io

import numpy as np
import pytest
from PIL import Image

from icebox.features.errors import ItemError
from icebox.features.images import decoding, framing, resizing
from icebox.pipeline.exported.reference import pictures

RANDOM = np.random.default_rng(0)
SHAPES = [(60, 80, 3), (80, 60, 3), (200, 300, 3), (90, 40), (31, 31, 3)]


def steps(**given):
    plain = {"kind": "shorter", "resize": [48], "crop": [40, 40], "interpolation": "bilinear", "resample": "torch"}
    return plain | {"channels": 3, "offset": "torchvision", "flat": False, "fill": None, "decode": "fast"} | given


def pixels(shape):
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def channels_first(values):
    return np.repeat(values[None], 3, 0) if values.ndim == 2 else values.transpose(2, 0, 1)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_shorter_side_and_the_centre(shape, interpolation, exact):
    picture = pixels(shape)
    resample = "pillow" if exact else "torch"
    for shorter, crop in ((48, (40, 40)), (32, (32, 48)), (20, (32, 32))):
        own = resizing.resize_and_crop(picture, shorter=shorter, crop=crop, interpolation=interpolation, exact=exact)
        given = steps(resize=[shorter], crop=list(crop), interpolation=interpolation, resample=resample)
        np.testing.assert_array_equal(pictures.prepare(picture, given), channels_first(own))


@pytest.mark.parametrize("mode", framing.CROP_MODES)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_frames_of_timm(shape, mode):
    picture = pixels(shape)
    frame = {"mode": mode, "around": (44, 44), "crop": (40, 40), "interpolation": "bicubic", "exact": False}
    own = framing.frame(picture, **frame, mean=(0.5, 0.4, 0.3))
    fill = [round(255 * value) for value in (0.5, 0.4, 0.3)] if mode == framing.BORDER else None
    given = steps(kind=mode, resize=[44, 44], interpolation="bicubic", fill=fill)
    np.testing.assert_array_equal(pictures.prepare(picture, given), channels_first(own))


@pytest.mark.parametrize(
    "values", [np.ones((5, 6), np.float32), np.full((5, 6), 70_000, np.int32), -np.ones((5, 6), np.int32)]
)
def test_pixels_of_no_agreed_range_are_refused_by_both(values):
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "TIFF")
    with pytest.raises(ItemError):
        decoding.to_image(stream.getvalue())
    with pytest.raises(ValueError, match=r"range|16 bits"):
        pictures.to_image(stream.getvalue())


@pytest.mark.parametrize("array", [np.ones((5, 6)), np.ones((5, 6), np.uint16), np.ones((5, 6, 4), np.uint8)])
def test_arrays_of_anything_but_grey_or_rgb_bytes_are_refused_by_both(array):
    with pytest.raises(ItemError):
        decoding.to_image(array)
    with pytest.raises(ValueError, match="uint8"):
        pictures.to_image(array)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("RGB", "PNG"), ("L", "PNG"), ("RGBA", "PNG"), ("LA", "PNG"), ("P", "PNG"), ("1", "PNG"), ("I;16", "PNG"),
     ("CMYK", "TIFF"), ("RGB", "JPEG"), ("L", "JPEG"), ("CMYK", "JPEG")],
)  # fmt: skip
def test_files_of_any_mode_are_decoded_alike(mode, kind):
    values = pixels((20, 30, 3))
    image = Image.fromarray(values)
    if mode == "I;16":
        image = Image.fromarray(RANDOM.integers(0, 65536, (20, 30)).astype(np.uint16))
    elif mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(pixels((20, 30))))
        image = image.convert(mode)
    else:
        image = image.convert(mode)
    stream = io.BytesIO()
    image.save(stream, kind)
    own = np.asarray(decoding.to_image(stream.getvalue()).convert("RGB"))
    np.testing.assert_array_equal(np.asarray(pictures.to_image(stream.getvalue()).convert("RGB")), own)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_rotated_photo_stands_upright(orientation):
    image, stream = Image.fromarray(pixels((20, 30, 3))), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(stream, "JPEG", exif=exif)
    np.testing.assert_array_equal(pictures.to_image(stream.getvalue()), decoding.to_pixels(stream.getvalue()))


def test_a_picture_that_would_become_too_large_is_refused():
    with pytest.raises(ValueError, match="too long and thin"):
        pictures.prepare(pixels((2, 4000)), steps(resize=[224], crop=[224, 224]))
