"""How to train end to end: the keys of an entry of `unfreeze:` in params.yaml, each with its meaning."""

from typing import Annotated, Literal

from pydantic import Field

from icebox.pipeline.config.section import Section

FRESH = "fresh"  # the head that has not been fitted

Free = str | list[str]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class How(Section):
    """`free` names what learns: all, none, `last K` (blocks, as `describe` lists them), patterns of parameters' names
    (`*` stands for anything), or {epoch: one of these}, each holding until the next.
    """

    init: Literal["pretrained", "random"] = "pretrained"  # random: the control, trained from scratch
    free: Free | dict[int, Free] = "all"
    epochs: Annotated[int, Field(ge=1)] = 5
    batch_size: Annotated[int, Field(ge=1)] = 32
    learning_rate: Positive = 1e-4  # the peak, of the last block
    head_learning_rate: Positive | None = None  # ten times learning_rate, if left out
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0  # each block's rate, as a share of the next one's
    weight_decay: Annotated[float, Field(ge=0)] = 0.01  # not of norms and biases
    warm_up: Share = 0.1  # of all steps; then a cosine down to 0
    clip: Positive = 1.0  # the gradient's largest length
    average: Annotated[float, Field(gt=0, lt=1)] | None = None  # share of the weights' running mean that a step keeps
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    norm_statistics: Literal["frozen", "updated"] = "frozen"  # of batch norms
    augment: list[Literal["flip", "crop", "turn"]] = Field(default_factory=list)  # other versions in every epoch
    precision: Literal["float32", "bfloat16", "float16"] = "float32"  # below 32 bits: mixed
    patience: Annotated[int, Field(ge=1)] | None = None  # epochs without a better val score
    cut: Literal["auto", "on", "off"] = "auto"  # keep what the frozen part gives in a store, and train from there
    seed: int = 0
    seeds: Annotated[int, Field(ge=1)] = 1  # runs; the first one's weights are kept
