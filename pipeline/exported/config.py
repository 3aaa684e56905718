"""The form of an export's config.json, which anyone can have written: its hash lies beside it and says nothing of that.

Keys that nothing here reads may hold anything.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from icebox.features.errors import IceboxError
from icebox.features.json_files import shortened
from icebox.features.manifest.validation import LabelTask
from icebox.features.text.cleaning import STEPS
from icebox.pipeline.config.section import nearest

Positive = Annotated[int, Field(ge=1, le=1 << 14)]
TokenId = Annotated[int, Field(ge=0, lt=1 << 31)]
Byte = Annotated[int, Field(ge=0, le=255)]
Interpolation = Literal["bilinear", "bicubic", "box", "lanczos", "nearest", "hamming"]


class Part(BaseModel):
    """A part of it: no type is turned into another."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class PictureSteps(Part):
    """How a picture is prepared; see reference/pictures.py."""

    kind: Literal["shorter", "center", "border", "stretch"]
    channels: Literal[1, 3] | None
    resize: Annotated[list[Positive], Field(min_length=1, max_length=2)] | None
    crop: Annotated[list[Positive], Field(min_length=2, max_length=2)] | None
    interpolation: Interpolation
    resample: Literal["pillow", "torch"]
    offset: Literal["torchvision", "transformers"]
    flat: bool
    fill: list[Byte] | None = None
    decode: str = "whole"

    @model_validator(mode="after")
    def check_sizes(self) -> Self:
        """Sizes that its kind needs."""
        sides = len(self.resize or [])
        if (self.kind == "shorter" and not sides) or (self.kind in ("center", "border") and sides != 2):
            raise ValueError(f"kind {self.kind}: expected a side, or height and width, at resize")
        if self.kind == "stretch" and self.resize and sides != 2:
            raise ValueError("kind stretch: expected height and width at resize")
        if self.kind == "shorter" and self.crop is None:
            raise ValueError("kind shorter: expected height and width at crop")
        if self.fill is not None and len(self.fill) != (self.channels or 3):
            raise ValueError("fill: expected a number a channel")
        if self.decode == "draft" and not self.resize:
            raise ValueError("decode draft: expected a side at resize")
        return self


class GlyphSteps(Part):
    """How a glyph is prepared."""

    kind: Literal["glyph"]
    channels: Literal[1]
    resize: Annotated[list[Positive], Field(min_length=1, max_length=1)]


class TokenSteps(Part):
    """How a text is prepared by a tokenizer; see reference/texts.py."""

    kind: Literal["tokens"]
    max_tokens: Annotated[int, Field(ge=1, le=1 << 24)]
    prompt: str
    lower: bool
    separator: bool
    padding: TokenId
    empty: TokenId
    width: Positive | None


class WordSteps(Part):
    """How a text is prepared by a list of words."""

    kind: Literal["words"]
    unknown: str
    end: str
    padding: TokenId
    width: Positive | None
    max_words: Annotated[int, Field(ge=1, le=1 << 24)]


PICTURES = (PictureSteps, GlyphSteps)


class Inputs(Part):
    """The items that the model takes, and the names of its inputs."""

    kind: Literal["image", "text", "pair"]
    names: list[str]


class Network(Part):
    """The network that it was made of."""

    backbone: str


class Data(Part):
    """How its dataset was read."""

    name: str
    source: str | None
    parameters: dict[str, Any]
    clean: list[Literal[*STEPS]]  # type: ignore[valid-type]


class Config(Part):
    """All that opening an export and answering by it reads."""

    name: str
    format: Literal["onnx", "sklearn", "torch"]
    model: str
    task: LabelTask
    classes: list[str]
    scores: Literal["probabilities", "scores", "value"]
    input: Inputs
    preprocess: Annotated[PictureSteps | GlyphSteps | TokenSteps | WordSteps, Field(discriminator="kind")] | None
    thresholds: list[float] | None
    coverage: str | None
    network: Network
    dataset: Data

    @model_validator(mode="after")
    def check_together(self) -> Self:
        """Keys that hang on each other."""
        if (self.task == "regression") != (self.scores == "value"):
            raise ValueError(f"scores: expected another for a {self.task}, found {self.scores}")
        if self.task != "regression" and (not self.classes or len(set(self.classes)) < len(self.classes)):
            raise ValueError("classes: expected one name or more, none of them twice")
        if self.task == "multilabel" and len(self.thresholds or []) != len(self.classes):
            raise ValueError("thresholds: expected one a class")
        if self.format == "sklearn":
            return self
        if self.preprocess is None:
            raise ValueError("preprocess: expected how items are prepared, found none")
        if isinstance(self.preprocess, PICTURES) != (self.input.kind == "image"):
            raise ValueError(f"preprocess: expected steps for {self.input.kind}s, found {self.preprocess.kind}")
        expected = ["images"] if self.input.kind == "image" else ["input_ids", "attention_mask", "token_type_ids"]
        if not self.input.names or not set(self.input.names) <= set(expected):
            raise ValueError(f"input.names: expected of {', '.join(expected)}, found {shortened(self.input.names)}")
        return self


def check(path: Path, config: dict[str, Any]) -> None:
    """Raise IceboxError where the content of config.json is none."""
    try:
        Config.model_validate(config)
    except ValidationError as errors:
        first = nearest(errors.errors())
        place = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        expected = "missing" if first["type"] == "missing" else f"{message[:1].lower()}{message[1:]}"
        shown = "" if first["type"] in ("missing", "value_error") else f", found {shortened(first['input'])}"
        raise IceboxError(
            f"{path}: {place}{': ' if place else ''}{expected}{shown}; copy the export anew, or export the head anew"
        ) from None
