import base64
import io

import numpy as np
from PIL import Image

from icebox.pipeline.report import thumbnails


def opened(exhibit: thumbnails.Exhibit) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(exhibit.picture.split(",")[1])))


def test_a_small_picture_keeps_each_pixel():
    pixels = np.array([[0, 50], [100, 255]], np.uint8)
    shown = thumbnails.exhibit(pixels)
    assert (shown.width, shown.height) == (2, 2)
    assert np.asarray(opened(shown)).tolist() == pixels.tolist()


def test_a_large_picture_is_reduced_and_keeps_its_proportions():
    shown = thumbnails.exhibit(np.zeros((300, 600, 3), np.uint8))
    assert (shown.width, shown.height) == (128, 64) == opened(shown).size
    assert len(shown.picture) < 2000


def test_a_text_becomes_one_line_cut_between_words():
    assert thumbnails.shortened("two\n  words") == "two words"
    cut = thumbnails.shortened("word " * 100)
    assert cut.endswith("word…")
    assert len(cut) <= thumbnails.TEXT_MAX


def test_a_text_without_spaces_is_cut_all_the_same():
    assert thumbnails.shortened("x" * 1000) == "x" * (thumbnails.TEXT_MAX - 1) + "…"
