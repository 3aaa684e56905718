"""What each entry of params.yaml may say: its keys, their types, their defaults, and what they mean."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from icebox.features.extraction import views
from icebox.features.extraction.compilation import Compile
from icebox.features.extraction.precision import Precision, Stored
from icebox.features.manifest.leakage import Conflicts, Leakage
from icebox.features.manifest.validation import Task
from icebox.features.text.pairs import PAIR, TEXTS
from icebox.pipeline.config.section import Section
from icebox.pipeline.config.unfreeze_schema import How

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
    `views` of each image: features/extraction/views.py says which there are. `pairs` of texts pass in one input, or
    (siamese) each text for itself. `size` is what pictures are resized for, in pixels; `decode: exact` resizes just
    as torchvision does, slower and by 2 levels at most apart from `fast`, and `draft` decodes large JPEGs smaller.
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
            return TEXTS
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
        return views.expanded(self.views, "fit.views", also=[PAIR, *TEXTS]) if self.views else None


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


OWN = {"choose", "folds", "refit", "calibrate"}  # what a store's `fit` may say for itself


@dataclass(frozen=True)
class Config:
    """The whole of params.yaml."""

    select: Select
    datasets: dict[str, Entry]
    backbones: dict[str, Entry]
    pretrain: dict[str, Entry]
    generate: dict[str, Generate]
    stores: dict[str, Store]
    heads: dict[str, Entry]
    unfreeze: dict[str, Unfreeze]
    extract: Extract
    fit: Fit

    def backbone(self, name: str) -> Entry:
        """A backbone's entry, fetched or trained here; of an unfrozen one that of what it was."""
        if name in self.unfreeze:
            return self.backbone(self.stores[self.unfreeze[name].store].backbone)
        return self.backbones[name] if name in self.backbones else self.pretrain[name]

    def task(self, store: str) -> Task:
        """What is learnt on a store."""
        return self.datasets[self.stores[store].dataset].task

    def fitting(self, store: str) -> Fit:
        """How heads are fitted on a store: `fit`, with what the store says instead.

        A regression is chosen by its root mean square error where only a score of classes is named.
        """
        own = self.stores[store].fit.model_dump(include=OWN, exclude_none=True)
        fit = self.fit.model_copy(update=own)
        if self.task(store) == "regression" and fit.choose not in get_args(OfValues):
            return fit.model_copy(update={"choose": "rmse"})
        return fit
