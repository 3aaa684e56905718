"""Characters rendered from printed fonts, and endless seeded variations of them: glyphnet's training data.

A glyph is kept as two distance fields, not as an image, so that a stroke of any width is one comparison away:
`outline` is the signed distance to the printed edge (below 0 inside), `spine` the distance to the strokes' middle
lines, which gives pen-like strokes of even width. Between two fonts' fields lie the shapes of fonts that don't exist.

Letters: b batch, c characters, f fonts, s = CANVAS pixels, r = SIDE pixels.
"""

import importlib.util
import string
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFont
from torch import Tensor
from torch.nn import functional as F

from icebox.features.errors import IceboxError

CHARACTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase
# Of the 40 files in matplotlib 3.11: the others hold symbols, pieces of large brackets, or boxes.
FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    *("cmb10", "cmmi10", "cmr10", "cmss10", "cmti10", "cmtt10"),
)
CANVAS = 64  # pixels of a distance field's side
INK = 48  # pixels of the longer side of a character on it
SIDE = 32  # pixels of a generated image's side
RESOLUTIONS = (8, 8, 10, 12, 16, 20, 24, 28)  # pixels a side that images are reduced to, in equal shares
SPINE_SLOPE = 0.55  # below it the outline field has a ridge: 0 on a straight stroke, 0.71 into a square corner


@dataclass(frozen=True, kw_only=True)
class Glyphs:
    """The distance fields of every font's characters, in canvas pixels: two float32 (f, c, s, s)."""

    outline: Tensor
    spine: Tensor

    def draw(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        """One new image of each character in `labels` (b,) → float32 (b, 1, r, r), light (1) on dark (0)."""
        field = self._shapes(labels, generator)
        field = F.grid_sample(field, warp(len(labels), generator), padding_mode="border", align_corners=False)
        softness = uniform(len(labels), 0.6, 1.6, generator)
        ink = torch.sigmoid(-field / softness)
        return stretch(degrade(ink, generator))

    def _shapes(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Distance fields (b, 1, s, s), below 0 on ink: two fonts interpolated, printed or pen-like, thin or bold."""
        size = len(labels)
        first, second = torch.randint(len(self.outline), (2, size), generator=generator)
        share = uniform(size, 0, 1, generator)
        printed = torch.lerp(self.outline[first, labels, None], self.outline[second, labels, None], share)
        printed = printed - uniform(size, -0.8, 2.0, generator)
        penned = self.spine[first, labels, None] - uniform(size, 1.2, 5.0, generator)
        return torch.where(uniform(size, 0, 1, generator) < 0.5, printed, penned)


def uniform(size: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """A uniform random number per image, (b, 1, 1, 1)."""
    return torch.rand(size, 1, 1, 1, generator=generator) * (high - low) + low


def warp(size: int, generator: torch.Generator) -> Tensor:
    """Sampling grids for `grid_sample`, (b, r, r, 2) in [-1, 1]: a random affine map, then elastic deformation."""

    def uniform_vector(low: float, high: float) -> Tensor:
        return torch.rand(size, generator=generator) * (high - low) + low

    rotation, shear = uniform_vector(-0.26, 0.26), uniform_vector(-0.35, 0.35)
    height = uniform_vector(0.56, 1.0) * CANVAS / INK  # of the image
    width = height * torch.exp(uniform_vector(-0.3, 0.3))
    width = width.clamp(max=1.0 * CANVAS / INK)
    cos, sin = torch.cos(rotation), torch.sin(rotation)
    x_row = torch.stack([cos, sin + shear, uniform_vector(-0.1, 0.1)], dim=1) / width[:, None]
    y_row = torch.stack([-sin, cos, uniform_vector(-0.1, 0.1)], dim=1) / height[:, None]
    grid = F.affine_grid(torch.stack([x_row, y_row], dim=1), [size, 1, SIDE, SIDE], align_corners=False)
    for knots, strength_max in ((4, 0.16), (7, 0.06)):
        strength = uniform(size, 0, strength_max, generator)
        displacement = torch.randn(size, 2, knots, knots, generator=generator) * strength
        displacement = F.interpolate(displacement, size=(SIDE, SIDE), mode="bicubic", align_corners=True)
        grid = grid + displacement.permute(0, 2, 3, 1)
    return grid


def degrade(images: Tensor, generator: torch.Generator) -> Tensor:
    """Lower the resolution, change the contrast and add noise, as scans do. (b, 1, r, r) → (b, 1, r, r).

    The first images of the batch get the first resolution and so on; labels are drawn at random, so no character is
    tied to one.
    """
    parts = [
        F.interpolate(F.adaptive_avg_pool2d(part, side), size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        for part, side in zip(images.tensor_split(len(RESOLUTIONS)), RESOLUTIONS, strict=True)
    ]
    images = torch.cat(parts)
    gamma = torch.exp(uniform(len(images), -0.7, 0.5, generator))
    grain = uniform(len(images), 0, 0.25, generator) ** 2
    return images.clamp(1e-4, 1) ** gamma + grain * torch.randn(images.shape, generator=generator)


def stretch(images: Tensor) -> Tensor:
    """Scale each image so that its darkest pixel is 0 and its lightest 1, as glyphnet's preprocess does."""
    low, high = images.amin(dim=(1, 2, 3), keepdim=True), images.amax(dim=(1, 2, 3), keepdim=True)
    return (images - low) / (high - low).clamp(min=1e-6)


@cache
def render(fonts: tuple[str, ...] = FONTS, characters: str = CHARACTERS) -> Glyphs:
    """Render every character of every font and compute its distance fields (about 3 s for all)."""
    ink = np.stack([[rasterize(font, character) for character in characters] for font in map(load_font, fonts)])
    flat = ink.reshape(-1, CANVAS, CANVAS)
    outline = distance_field(flat) - distance_field(~flat)
    slope = np.hypot(*np.gradient(outline, axis=(1, 2)))
    spine = distance_field(flat & (slope < SPINE_SLOPE))
    return Glyphs(
        outline=torch.from_numpy(outline.reshape(ink.shape)), spine=torch.from_numpy(spine.reshape(ink.shape))
    )


def load_font(name: str) -> ImageFont.FreeTypeFont:
    """A font that ships with matplotlib, located without importing matplotlib."""
    package = importlib.util.find_spec("matplotlib")
    if package is None or package.origin is None:
        raise IceboxError("glyphs: the fonts that ship with matplotlib are needed; `pip install matplotlib`")
    path = Path(package.origin).parent / "mpl-data" / "fonts" / "ttf" / f"{name}.ttf"
    if not path.is_file():
        raise IceboxError(f"glyphs: this matplotlib has no font {path.name}; 3.11 has it")
    return ImageFont.truetype(path, 2 * INK)


def rasterize(font: ImageFont.FreeTypeFont, character: str) -> np.ndarray:
    """The character's ink, its longer side INK pixels, centered on the canvas: bool (s, s)."""
    mask = font.getmask(character)
    image = Image.frombytes("L", mask.size, bytes(mask))
    image = image.crop(image.getbbox())
    scale = INK / max(image.size)
    image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    canvas = Image.new("L", (CANVAS, CANVAS))
    canvas.paste(image, ((CANVAS - image.width) // 2, (CANVAS - image.height) // 2))
    return np.asarray(canvas) > 127


def distance_field(ink: np.ndarray) -> np.ndarray:
    """Euclidean distance of each pixel to the nearest ink, in pixels: bool (n, s, s) → float32 (n, s, s)."""
    places = np.arange(CANVAS, dtype=np.float32)
    steps = (places[:, None] - places) ** 2  # (s, s)
    squared = np.where(ink, np.float32(0), np.float32(2 * CANVAS**2))
    for _ in range(2):  # squared distances add over the axes, so each axis is searched alone
        squared = np.stack([(rows[:, None] + steps).min(-1).T for rows in squared])
    return np.sqrt(squared)
