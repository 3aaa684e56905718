"""How a backbone's items are prepared, as JSON for code without Icebox; and the files which that code needs."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from icebox.features.backbones import glyphnet, pixels, rnn_lm, transformers, transformers_vision
from icebox.features.errors import IceboxError
from icebox.features.images.framing import BORDER
from icebox.features.models import glyphs, small_images
from icebox.features.nn.image_backbone import EXACT, ImageBackbone
from icebox.features.text import cleaning, tokenization
from icebox.pipeline.exported.reference import pictures, texts

PLAIN: dict[str, Any] = {"offset": "torchvision", "flat": False, "fill": None, "decode": "whole"}


def steps_of(backbone: Any) -> dict[str, Any]:
    """The steps of a backbone's `prepare`, as `exported/reference` takes them.

    Raises IceboxError for a family that has a way of its own.
    """
    match backbone:
        case ImageBackbone():
            return of_images(backbone.spec["preprocess"])
        case transformers_vision.TransformersVisionBackbone():
            steps = backbone.preprocess
            kind = "shorter" if steps["resize"] and len(steps["resize"]) == 1 else "stretch"
            kept = {name: steps[name] for name in ("resize", "crop", "interpolation")}
            return PLAIN | kept | {"kind": kind, "channels": 3, "resample": "pillow", "offset": "transformers"}
        case glyphnet.GlyphNetBackbone():
            return PLAIN | {"kind": "glyph", "channels": 1, "resize": [glyphs.SIDE], "crop": None}
        case small_images.SmallImageBackbone():
            return flat_square(small_images.SIDE, "bilinear", channels=1)
        case pixels.PixelsBackbone() if backbone.outputs == (pixels.LAST,):
            return flat_square(backbone.size, "box", channels=1 if backbone.mode == "L" else 3)
        case transformers.TransformersTextBackbone():
            return of_tokens(backbone)
        case rnn_lm.LanguageModelBackbone():
            return {
                "kind": "words", "unknown": tokenization.UNKNOWN, "end": tokenization.END, "padding": 0, "width": None,
                "max_words": rnn_lm.MAX_WORDS,
            }  # fmt: skip
    raise IceboxError(f"family {backbone.spec['family']} has no export: its items are prepared in a way of its own")


def of_images(steps: dict[str, Any]) -> dict[str, Any]:
    """The steps of families that take pictures of a resized, cropped kind."""
    crop = (list(steps["crop"]) * 2)[:2]
    common = {
        "channels": len(steps["mean"]),
        "interpolation": steps["interpolation"],
        "resample": "pillow" if steps["decode"] == EXACT else "torch",
        "crop": crop,
    }
    if "crop_mode" in steps:
        fill = [round(255 * value) for value in steps["mean"]] if steps["crop_mode"] == BORDER else None
        return PLAIN | common | {"kind": steps["crop_mode"], "resize": list(steps["resize"]), "fill": fill}
    if len(steps["resize"]) == 2:
        return PLAIN | common | {"kind": "stretch", "resize": crop}
    return PLAIN | common | {"kind": "shorter", "resize": list(steps["resize"]), "decode": steps["decode"]}


def flat_square(side: int, interpolation: str, *, channels: int) -> dict[str, Any]:
    """Pictures stretched to a small square by Pillow, colours last."""
    square = {"kind": "stretch", "resize": [side, side], "crop": [side, side], "flat": True}
    return PLAIN | square | {"interpolation": interpolation, "resample": "pillow", "channels": channels}


def of_tokens(backbone: transformers.TransformersTextBackbone) -> dict[str, Any]:
    """The steps of a transformer's tokenizer. Raises IceboxError for one that is no tokenizer.json."""
    tokenizer = backbone.tokenizer
    if not tokenizer.is_fast:
        raise IceboxError("no export: its tokenizer is Python code, which no tokenizer.json holds")
    if backbone.padded_tokens and tokenizer.padding_side == "left":
        raise IceboxError("no export: its texts are padded at the beginning")
    return {
        "kind": "tokens",
        "max_tokens": backbone.max_tokens,
        "prompt": backbone.prompt,
        "lower": backbone.lower,
        "separator": bool(tokenizer.num_special_tokens_to_add(pair=True)),
        "padding": backbone.padding_id,
        "empty": backbone.empty_text_id,
        "width": backbone.padded_tokens,
    }


def write_files(backbone: Any, folder: Path, *, clean: Sequence[str] = ()) -> None:
    """Write the code that prepares items, and the tokenizer or the words that it reads, into an export's folder; with
    steps of `clean` also the code that takes them."""
    if clean:
        (folder / "cleaning.py").write_text(inspect.getsource(cleaning), encoding="utf-8")
    reference = pictures if backbone.modality == "image" else texts
    (folder / "preprocess.py").write_text(inspect.getsource(reference), encoding="utf-8")
    if isinstance(backbone, transformers.TransformersTextBackbone):
        tokenizer = backbone.tokenizer.backend_tokenizer
        tokenizer.no_truncation()
        tokenizer.save(str(folder / "tokenizer.json"))
        backbone.prepare("")  # sets the truncation again
    elif isinstance(backbone, rnn_lm.LanguageModelBackbone):
        (folder / "vocabulary.txt").write_text("".join(f"{word}\n" for word in backbone.number), encoding="utf-8")
        (folder / "tokenization.py").write_text(inspect.getsource(tokenization), encoding="utf-8")
