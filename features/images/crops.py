"""Pictures mirrored, or cut out of an item's picture at full resolution.

Letters: h height, w width, in pixels.
"""

import math
import random

import numpy as np
from PIL import ImageOps
from PIL.Image import Image

from icebox.features import fingerprint
from icebox.features.abc.dataset import Content
from icebox.features.images.decoding import to_image

SHARE = 7 / 8  # of the shorter side, a five-crop's square: the classical 224 of 256 pixels
AREAS = (0.08, 1.0)  # of the picture; these and what follows are torchvision's RandomResizedCrop
RATIOS = (3 / 4, 4 / 3)  # w / h
DRAWS = 10

Box = tuple[int, int, int, int]  # left, upper, right, lower


def mirror(content: Content) -> np.ndarray:
    """A picture, left and right exchanged → uint8 (h, w[, 3])."""
    return np.asarray(ImageOps.mirror(to_image(content)))


def crop_view(content: Content, view: str) -> np.ndarray:
    """What a member of `five-crop` or `random-resized-crop` shows of a picture → uint8 (h, w[, 3])."""
    picture = to_image(content)
    group, _, member = view.partition(".")
    if group == "five-crop":
        return np.asarray(picture.crop(five_crop_box(picture, member)))
    # from the content, not the item: equal contents share a row, whatever order they come in
    seed = fingerprint.of_content(f"{fingerprint.of_content(content)} {member}")
    return np.asarray(picture.crop(random_crop_box(picture, random.Random(int(seed, 16)))))


def five_crop_box(picture: Image, place: str) -> Box:
    """A square in a corner of the picture, or in its centre."""
    side = max(1, round(SHARE * min(picture.size)))
    right, lower = picture.width - side, picture.height - side
    if place == "centre":
        left, upper = right // 2, lower // 2
    else:
        left, upper = right if "right" in place else 0, lower if "bottom" in place else 0
    return left, upper, left + side, upper + side


def random_crop_box(picture: Image, draw: random.Random) -> Box:
    """A part of the picture whose area and ratio of sides are drawn; after DRAWS that don't fit, the centre."""
    for _ in range(DRAWS):
        area = picture.width * picture.height * draw.uniform(*AREAS)
        ratio = math.exp(draw.uniform(math.log(RATIOS[0]), math.log(RATIOS[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= picture.width and 0 < h <= picture.height:
            left, upper = int(draw.random() * (picture.width - w + 1)), int(draw.random() * (picture.height - h + 1))
            return left, upper, left + w, upper + h
    w = min(picture.width, max(1, round(picture.height * RATIOS[1])))
    h = min(picture.height, max(1, round(picture.width / RATIOS[0])))
    left, upper = (picture.width - w) // 2, (picture.height - h) // 2
    return left, upper, left + w, upper + h
