"""Near-duplicates found among photos: copies saved anew, cropped and mirrored are hidden in a folder of pictures.

Run anywhere: python -m benchmarks.near_duplicates PICTURES WEIGHTS [COPIES] [MODEL]

PICTURES: a folder of JPEGs, at any depth; WEIGHTS: of MODEL (squeezenet1_1), as `Encoder` takes them. A third of the
copies are JPEGs of quality 30, 50 or 75, a third crops of 80, 90 or 95 % of each side, enlarged again, a third mirror
images. What is found without any copies is counted apart: photos of one scene, and copies that were there before.
"""

import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import icebox
from icebox.pipeline.data import near_duplicates

QUALITIES, CROPS = (30, 50, 75), (0.8, 0.9, 0.95)
KINDS = ("saved anew", "cropped", "mirrored")


def copy(picture: Image.Image, number: int, random: np.random.Generator) -> Image.Image:
    """The copy of a picture whose kind and strength follow from its number."""
    strength = number // len(KINDS) % len(QUALITIES)
    if KINDS[number % len(KINDS)] == "saved anew":
        return saved(picture, QUALITIES[strength])
    if KINDS[number % len(KINDS)] == "mirrored":
        return saved(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 90)
    width, height = (round(side * CROPS[strength]) for side in picture.size)
    left, top = random.integers(0, picture.width - width + 1), random.integers(0, picture.height - height + 1)
    return saved(picture.crop((left, top, left + width, top + height)).resize(picture.size), 90)


def saved(picture: Image.Image, quality: int) -> Image.Image:
    """A picture as it comes back from a JPEG."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return Image.open(io.BytesIO(stream.getvalue())).convert("RGB")


def hidden_copies(pictures: list[Image.Image], copies: int, seed: int = 0) -> tuple[list[Image.Image], np.ndarray]:
    """Copies of as many different pictures, and the positions of these (copies,)."""
    random = np.random.default_rng(seed)
    originals = random.permutation(len(pictures))[:copies]
    return [copy(pictures[i], number, random) for number, i in enumerate(originals)], originals


def pairs_among(features: np.ndarray) -> set[tuple[int, int]]:
    """The pairs that are found among features (n, d)."""
    n = len(features)
    near = near_duplicates.find(lambda items: features[items], n, np.arange(n))
    return {(pair.first, pair.second) for pair in near.pairs}


def main(folder: str, weights: str, copies: int = 120, model: str = "squeezenet1_1") -> None:
    """Print recall and precision, and what was missed, by kind of copy."""
    pictures = [Image.open(path).convert("RGB") for path in sorted(Path(folder).rglob("*.jp*g"))]
    made, originals = hidden_copies(pictures, copies)
    encoder = icebox.Encoder(model, weights=weights, precision="float32")
    features, n = np.asarray(encoder.fit_transform([*pictures, *made])), len(pictures)
    own, found = pairs_among(features[:n]), pairs_among(features)
    hidden = {(int(i), n + number) for number, i in enumerate(originals)}
    others = found - hidden
    print(f"{n:,} pictures hold {len(own)} pairs of their own; {copies} copies hidden, {len(found)} pairs found")
    print(f"recall {len(found & hidden) / copies:.3f}")
    precision = len(found & hidden) / len(found), len(found & hidden) / len(found - own)
    print(f"precision {precision[0]:.3f}, {precision[1]:.3f} without their own")
    print(f"neither hidden nor found without copies: {len(others - own)}")
    for number, kind in enumerate(KINDS):
        of_kind = [pair for pair in sorted(hidden) if (pair[1] - n) % len(KINDS) == number]
        print(f"{kind}: {sum(pair in found for pair in of_kind)} of {len(of_kind)}")


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:4]), *sys.argv[4:])
