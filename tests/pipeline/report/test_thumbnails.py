import base64
import io

import numpy as np
from PIL import Image

from icebox.pipeline.report import thumbnails


def opened(thumbnail: thumbnails.Thumbnail) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(thumbnail.image.split(",")[1])))


def test_a_small_picture_keeps_each_pixel():
    pixels = np.array([[0, 50], [100, 255]], np.uint8)
    thumbnail = thumbnails.make_thumbnail(pixels)
    assert (thumbnail.width, thumbnail.height) == (2, 2)
    assert np.asarray(opened(thumbnail)).tolist() == pixels.tolist()


def test_a_large_picture_is_reduced_and_keeps_its_proportions():
    thumbnail = thumbnails.make_thumbnail(np.zeros((300, 600, 3), np.uint8))
    assert (thumbnail.width, thumbnail.height) == (128, 64) == opened(thumbnail).size
    assert len(thumbnail.image) < 2000


def test_a_text_becomes_one_line_cut_between_words():
    assert thumbnails.shorten("two\n  words") == "two words"
    shortened = thumbnails.shorten("word " * 100)
    assert shortened.endswith("word…")
    assert len(shortened) <= thumbnails.TEXT_MAX


def test_a_text_without_spaces_is_cut_all_the_same():
    assert thumbnails.shorten("x" * 1000) == "x" * (thumbnails.TEXT_MAX - 1) + "…"
