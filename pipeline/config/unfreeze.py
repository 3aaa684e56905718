"""The section `unfreeze` of params.yaml."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from icebox.pipeline.config.numbers import Fraction, LearningRate, Positive, Seed, Share
from icebox.pipeline.config.section import Section


class Lora(Section):
    """Adapters in linear layers, which learn in their place and are added to them at the end.

    `lora` is the rank, the thin side of an adapter's two matrices. `alpha`, over the rank, is the factor of an
    adapter's output; twice the rank, if left out. `dropout` is that of an adapter's input. `targets` are patterns of
    layers' names or of their ends (`query`, `layer.5.*`); queries and values, if left out.
    """

    lora: Annotated[int, Field(ge=1, le=4096)]
    alpha: Positive | None = None
    dropout: Fraction = 0.0
    targets: Annotated[list[str], Field(min_length=1)] | None = None


Free = str | list[str]


def form(value: object) -> str:
    """Which of the forms of `free` a value has, by its own look: so that an error speaks of that form alone."""
    if isinstance(value, Lora) or (
        isinstance(value, dict) and any(isinstance(key, str) and not key.isdigit() for key in value)
    ):
        return "of lora"
    return "by epoch" if isinstance(value, dict) else "in one"


def without_lora(value: object) -> object:
    """The value of a schedule. Raises ValueError for adapters in it, which can't come and go with the epochs."""
    if isinstance(value, dict) and any(isinstance(free, dict) for free in value.values()):
        raise ValueError("lora holds in all epochs, {lora: 8}, and is no part of a schedule")
    return value


ByEpoch = Annotated[dict[int, Free], BeforeValidator(without_lora), Tag("by epoch")]
Forms = Annotated[Annotated[Free, Tag("in one")] | Annotated[Lora, Tag("of lora")] | ByEpoch, Discriminator(form)]


class UnfreezeOptions(Section):
    """Options of training end to end.

    `free` names what learns: all, none, `last K` (blocks, as `describe` lists them), patterns of parameters' names
    (`*` stands for anything), or {epoch: one of these}, each holding until the next; or {lora: RANK}.
    """

    init: Literal["pretrained", "random"] = "pretrained"  # random: the control, trained from scratch
    free: Forms = "all"
    epochs: Annotated[int, Field(ge=1, le=100_000)] = 5  # passes over train
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 32  # items of a step
    learning_rate: LearningRate = 1e-4  # the peak, of the last block
    head_learning_rate: LearningRate | None = None  # ten times learning_rate, if left out
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0  # each block's rate, as a share of the next one's
    weight_decay: Annotated[float, Field(ge=0, le=1e6)] = 0.01  # not of norms and biases
    warm_up: Share = 0.1  # of all steps; then a cosine down to 0
    clip: Positive = 1.0  # the gradient's largest length
    average: Annotated[float, Field(gt=0, lt=1)] | None = None  # share of the weights' running mean that a step keeps
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0  # share of each label spread over all classes
    # of two images that are laid over each other, the share of the first is drawn from Beta(mixup, mixup); 0: none are
    mixup: Annotated[float, Field(ge=0, le=100)] = 0.0
    r_drop: Annotated[float, Field(ge=0, le=100)] = 0.0  # weight of how far two passes under other dropout are apart
    norm_statistics: Literal["frozen", "updated"] = "frozen"  # of batch norms
    augment: list[Literal["flip", "crop", "turn"]] = Field(default_factory=list)  # other versions in every epoch
    precision: Literal["float32", "bfloat16", "float16"] = "float32"  # below 32 bits: mixed
    patience: Annotated[int, Field(ge=1)] | None = None  # epochs without a better val score
    cut: Literal["auto", "on", "off"] = "auto"  # keep what the frozen part gives in a store, and train from there
    seed: Seed = 0  # of the first run
    seeds: Annotated[int, Field(ge=1, le=1000)] = 1  # runs; the first one's weights are kept


class Unfreeze(UnfreezeOptions):
    """The backbone of a `store` trained on, end to end, from a head that was fitted on it.

    `start`: the HEAD of the store, or the INPUT/HEAD of one of its inputs.
    """

    store: str
    start: str

    @property
    def start_input(self) -> str:
        """The input that the head to start from was fitted on, STORE or STORE/NAME."""
        name, slash, _ = self.start.rpartition("/")
        return f"{self.store}{slash}{name}"

    @property
    def start_head(self) -> str:
        """The name of the head to start from."""
        return self.start.rpartition("/")[2]
