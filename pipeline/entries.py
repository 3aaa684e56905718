"""What each entry of params.yaml may say: its keys, their types, their defaults, and what they mean."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from features import views
from features.compiled import Compile
from features.leakage import Conflicts, Leakage
from features.pairs import PAIR
from features.precision import Precision, Stored
from features.sound import Task
from pipeline.section import Section
from pipeline.unfreeze_how import How

NO_DATA = "none"  # what `data` says of a backbone that needs no dataset: dvc.yaml wants a word there
Fraction = Annotated[float, Field(ge=0, lt=1)]


LabelsPerClass = Literal["all"] | Annotated[int, Field(ge=1)]
ClassWeights = Literal["none", "balanced"] | dict[str | int, Annotated[float, Field(gt=0)]]
OfClasses = Literal["accuracy", "balanced_accuracy", "macro_f1", "log_loss"]
OfValues = Literal["rmse", "mae", "r2"]
Measure = OfClasses | OfValues
Refit = Literal["train", "train+val"]
Calibrate = Literal["none", "temperature", "isotonic"]


def one_search(given: Any) -> Any:
    """`grid`, `{random: n}` or `{halving: n}`."""
    match given:
        case "grid":
            return given
        case {"random": int(n)} | {"halving": int(n)} if len(given) == 1 and n > 0:
            return given
    raise ValueError("expected grid, {random: n} or {halving: n}")


Search = Annotated[Literal["grid"] | dict[str, int], BeforeValidator(one_search)]


class Split(Section):
    """Fractions of a dataset's items that go to val and test, drawn by a hash of each group or content.

    `stratify`: exact within each class, at the price that new items may move old ones near a cut. `leakage`: what to
    do about contents or groups on two sides; drop leaves them out of train. `conflicts`: about equal contents with
    different labels; drop leaves them out of train and val.
    """

    val: Fraction = 0.2
    test: Fraction = 0.2
    seed: int = 0
    stratify: bool = False
    leakage: Leakage = "error"
    conflicts: Conflicts = "keep"


class StoreExtract(Section):
    """What is stored of each item.

    `outputs` are LAYER or LAYER:POOLING; without any, the family's own default. `precision` is what the network
    computes in: auto is bfloat16 where the hardware does that, else float32. `stored` is the format on disk.
    `compile` the network (images): auto where that pays for what is left to extract.
    `views` of each image: features/views.py says which there are. `pairs` of texts pass in one input, or (siamese) each
    text for itself. `size` is what pictures are resized for, in pixels; `decode: exact` resizes just as torchvision
    does, slower and by 2 levels at most apart from `fast`, and `draft` decodes large JPEGs smaller.
    """

    outputs: Annotated[list[str], Field(min_length=1)] | None = None
    precision: Precision = "auto"
    stored: Stored = "float16"
    compile: Compile = "auto"
    views: Annotated[list[str], Field(min_length=1)] | None = None
    pairs: Literal["concat", "siamese"] = "concat"
    size: Annotated[int, Field(ge=1)] | None = None
    decode: Literal["fast", "exact", "draft"] = "fast"

    @property
    def options(self) -> dict[str, Any]:
        """What a backbone is loaded with besides outputs and precision, where it is not as the weights have it."""
        given = {"size": self.size, "decode": self.decode if self.decode != "fast" else None}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def expanded_views(self) -> tuple[str, ...]:
        """The names of the views that are stored."""
        if self.pairs == "siamese":
            return views.TEXTS
        return views.expanded(self.views or [views.IDENTITY], "extract.views")


class StoreFit(Section):
    """What the heads see of a store: `labels_per_class` items of each class in train and as many in val, or all.

    A list gives the few-label curve; its last point, the most labels, is the main result. `class_weights` say how much
    each class counts. `outputs` side by side, by default all. Items of train in each of `views`, those of val and test
    in its first only; by default in the first that is stored, and pairs of texts as (u, v, |u − v|, u · v). The others
    stand in for the same key of `fit`, for this store.
    """

    labels_per_class: LabelsPerClass | Annotated[list[LabelsPerClass], Field(min_length=1)] = "all"
    class_weights: ClassWeights = "none"
    outputs: Annotated[list[str], Field(min_length=1)] | None = None
    views: Annotated[list[str], Field(min_length=1)] | None = None
    choose: Measure | None = None
    folds: Annotated[int, Field(ge=2)] | None = None
    refit: Refit | None = None
    calibrate: Calibrate | None = None

    @property
    def expanded_views(self) -> tuple[str, ...] | None:
        """The names of the views, if any are asked for."""
        return views.expanded(self.views, "fit.views", also=[PAIR, *views.TEXTS]) if self.views else None


class Store(Section):
    """One dataset through one backbone."""

    dataset: str
    backbone: str
    extract: StoreExtract
    fit: StoreFit


class Extract(Section):
    """How every extraction runs. `batch_size` in items; `workers` are threads that read and decode."""

    batch_size: Annotated[int, Field(ge=1)] = 64
    workers: Annotated[int, Field(ge=1)] = 2
    on_error: Literal["fail", "skip"] = "fail"


class Fit(Section):
    """How every head is fitted.

    `choose`: the score that picks the winner. `search`: the whole grid, or n settings of it, drawn at random or halved.
    `folds` inside train choose instead of val, and anyway where there is no val (then 5). Heads with randomness are
    fitted under `seeds` seeds, `seed` and those after it. `ensemble`: how many heads answer together.
    """

    choose: Measure = "accuracy"
    seed: int = 0
    seeds: Annotated[int, Field(ge=1)] = 5
    search: Search = "grid"
    folds: Annotated[int, Field(ge=2)] | None = None
    refit: Refit = "train"
    calibrate: Calibrate = "none"
    ensemble: Annotated[int, Field(ge=2)] = 3


class Generate(Section):
    """New items of a backbone that makes some: shown beside those of `data`, judged by the backbone `judge`.

    `n` items a row of the sheet, `judged` items in all, both drawn from `seed`.
    """

    data: str
    judge: str
    n: Annotated[int, Field(ge=1)] = 10
    judged: Annotated[int, Field(ge=2)] = 10_000
    seed: int = 0


class Select(Section):
    """What runs: each store named here with each head named here; and the stores whose best heads answer together."""

    stores: Annotated[list[str], Field(min_length=1)]
    heads: Annotated[list[str], Field(min_length=1)]
    ensembles: list[str] = Field(default_factory=list)


@dataclass(frozen=True)
class Entry:
    """An entry of a catalogue whose other keys are parameters of a plugin's function.

    A dataset has `split` and `task`, a backbone that is trained here the dataset it learns from, `data`.
    """

    family: str
    parameters: dict[str, Any]
    split: Split | None = None
    task: Task = "classification"
    data: str = NO_DATA


class Unfreeze(How):
    """A store's backbone trained on, end to end, from a head that was fitted on the store."""

    store: str
    start: str
