"""Mirrored images, and crops of an item's image at full resolution.

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
from icebox.features.images.regions import five_crop_region, tile_region

AREA_RANGE = (0.08, 1.0)  # share of the image; these and what follows are torchvision's RandomResizedCrop
RATIO_RANGE = (3 / 4, 4 / 3)  # w / h
ATTEMPTS = 10

Box = tuple[int, int, int, int]  # left, upper, right, lower


def mirror(content: Content) -> np.ndarray:
    """An image with left and right exchanged → uint8 (h, w[, 3])."""
    return np.asarray(ImageOps.mirror(to_image(content)))


def crop_view(content: Content, view: str) -> np.ndarray:
    """The part of an image that a tile, or `five-crop` or `random-resized-crop`, shows → uint8 (h, w[, 3])."""
    image = to_image(content)
    group, _, member = view.partition(".")
    if group == "five-crop" or group.startswith("tile-"):
        if group == "five-crop":
            region = five_crop_region(member, height=image.height, width=image.width)
        else:
            rows, columns = map(int, group.removeprefix("tile-").split("x"))
            region = tile_region(rows, columns, int(member), height=image.height, width=image.width)
        return np.asarray(image.crop((region.left, region.upper, region.right, region.lower)))
    # from the content, not the item: equal contents share a row, whatever order they come in
    seed = fingerprint.of_content(f"{fingerprint.of_content(content)} {member}")
    return np.asarray(image.crop(random_crop_box(image, random.Random(int(seed, 16)))))


def random_crop_box(image: Image, rng: random.Random) -> Box:
    """A box of random area and aspect ratio inside the image; after ATTEMPTS that don't fit, the centre."""
    for _ in range(ATTEMPTS):
        area = image.width * image.height * rng.uniform(*AREA_RANGE)
        ratio = math.exp(rng.uniform(math.log(RATIO_RANGE[0]), math.log(RATIO_RANGE[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= image.width and 0 < h <= image.height:
            left, upper = int(rng.random() * (image.width - w + 1)), int(rng.random() * (image.height - h + 1))
            return left, upper, left + w, upper + h
    w = min(image.width, max(1, round(image.height * RATIO_RANGE[1])))
    h = min(image.height, max(1, round(image.width / RATIO_RANGE[0])))
    left, upper = (image.width - w) // 2, (image.height - h) // 2
    return left, upper, left + w, upper + h
