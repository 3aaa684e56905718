"""Contact sheets: rows of images, or of texts, as one PNG that the report and `dvc plots` show."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from icebox.features import files
from icebox.features.abc.dataset import Content
from icebox.features.models.glyphs import load_font

SCALE = 3  # of images: each pixel becomes this many a side
GAP = 4  # pixels between images
WHITE = 255
LINE_CHARACTERS, LINE_HEIGHT = 100, 18  # of texts; the height in pixels
FONT_SIZE = 14  # pixels


def write(path: Path, rows: Sequence[Sequence[Content]]) -> None:
    """Write rows of items: uint8 images (h, w) of one size, or texts."""
    images = [[item for item in row if isinstance(item, np.ndarray)] for row in rows]
    texts = [[str(item) for item in row if not isinstance(item, np.ndarray)] for row in rows]
    write_png(path, image_sheet(images) if any(images) else text_sheet(texts))


def image_sheet(rows: Sequence[Sequence[np.ndarray]]) -> Image.Image:
    """Images (h, w) side by side, row by row."""
    height, width = (SCALE * side for side in rows[0][0].shape)
    columns = max(len(row) for row in rows)
    sheet = Image.new("L", (columns * (width + GAP) + GAP, len(rows) * (height + GAP) + GAP), WHITE)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            large = Image.fromarray(image).resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(large, (GAP + j * (width + GAP), GAP + i * (height + GAP)))
    return sheet


def text_sheet(rows: Sequence[Sequence[str]]) -> Image.Image:
    """Paragraphs, a blank line between rows; the parts of a row are set off by a bar."""
    lines = [line for row in rows for line in (*textwrap.wrap(" | ".join(row), LINE_CHARACTERS), "")]
    font = load_font("DejaVuSans").font_variant(size=FONT_SIZE)  # Pillow's own font lacks even dashes
    sheet = Image.new("L", (LINE_CHARACTERS * FONT_SIZE * 6 // 10, (len(lines) + 1) * LINE_HEIGHT), WHITE)
    drawing = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        drawing.text((LINE_HEIGHT, LINE_HEIGHT // 2 + number * LINE_HEIGHT), line, fill=0, font=font)
    return sheet


def write_png(path: Path, image: Image.Image) -> None:
    """Write an image as a PNG, whole or not at all."""
    with files.replacing(path) as temporary, temporary.open("wb") as stream:
        image.save(stream, "png")
