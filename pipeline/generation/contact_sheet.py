"""Rows of pictures, or of texts, as one picture that reports and `dvc plots` show."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from icebox.features import files
from icebox.features.models.glyphs import load_font

SCALE = 3  # each pixel becomes this many a side
GAP = 4  # pixels between pictures
PAPER = 255
COLUMNS, LINE = 100, 18  # of a sheet of texts: characters a line, pixels from line to line
LETTER = 14  # pixels


def pictures(path: Path, rows: Sequence[Sequence[np.ndarray]]) -> None:
    """Write a PNG of rows of uint8 pictures (h, w), all of one size."""
    height, width = (SCALE * side for side in rows[0][0].shape)
    most = max(len(row) for row in rows)
    paper = Image.new("L", (most * (width + GAP) + GAP, len(rows) * (height + GAP) + GAP), PAPER)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            large = Image.fromarray(picture).resize((width, height), Image.Resampling.NEAREST)
            paper.paste(large, (GAP + j * (width + GAP), GAP + i * (height + GAP)))
    write(path, paper)


def texts(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Write a PNG of paragraphs, a blank line between rows; the parts of a row are set off by a bar."""
    lines = [line for row in rows for line in (*textwrap.wrap(" | ".join(row), COLUMNS), "")]
    font = load_font("DejaVuSans").font_variant(size=LETTER)  # Pillow's own font lacks even dashes
    paper = Image.new("L", (COLUMNS * LETTER * 6 // 10, (len(lines) + 1) * LINE), PAPER)
    pen = ImageDraw.Draw(paper)
    for number, line in enumerate(lines):
        pen.text((LINE, LINE // 2 + number * LINE), line, fill=0, font=font)
    write(path, paper)


def write(path: Path, picture: Image.Image) -> None:
    """As a PNG, whole or not at all."""
    with files.replacing(path) as temporary, temporary.open("wb") as stream:
        picture.save(stream, "png")
