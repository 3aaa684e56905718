"""The sections of params.yaml: the keys of each, their types, defaults and meaning."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from icebox.features.abc.quantized_network import INT8
from icebox.features.extraction import views
from icebox.features.extraction.compilation import Compile
from icebox.features.extraction.precision import Precision, Stored
from icebox.features.extraction.runtime import Runtime
from icebox.features.joining.join import Missing
from icebox.features.manifest.leakage import Conflicts, Leakage
from icebox.features.manifest.validation import Task
from icebox.features.text.pairs import PAIR, TEXTS
from icebox.pipeline.config.decide import Decide
from icebox.pipeline.config.fit import Adapt, Calibrate, Choose, FewLabels, Fit, LabelsPerClass, Refit, Shares
from icebox.pipeline.config.numbers import Fraction
from icebox.pipeline.config.section import Section
from icebox.pipeline.config.unfreeze import Unfreeze
from icebox.pipeline.data.class_weights import ClassWeights
from icebox.pipeline.evaluation import metrics

NO_DATA = "none"  # the `data` of a backbone that needs no dataset: dvc.yaml wants a word there
FRESH = "fresh"  # the head that has not been fitted
Side = Annotated[int, Field(ge=1, le=16384)]  # of a picture, in pixels
EngineName = Literal["local", "processes", "ray"]
OnError = Literal["fail", "skip"]  # at an item that can't be read: stop, or leave it out and list it


StoredView = Annotated[str, WithJsonSchema(views.json_schema())]  # their names are checked across sections
SeenView = Annotated[str, WithJsonSchema(views.json_schema(also=[PAIR, *TEXTS]))]


class Split(Section):
    """The `val` and `test` fractions of a dataset's items, drawn by a hash of each group or content and `seed`.

    `stratify`: exact within each class, at the price that new items may move old ones near a cut. `leakage`: what to
    do about contents or groups on two sides; drop leaves them out of train, near also leaves items out whose
    near-duplicates, by a store's features, lie on another side. `conflicts`: about equal contents with
    different labels; drop leaves them out of train and val.
    """

    val: Fraction = 0.2
    test: Fraction = 0.2
    seed: int = 0
    stratify: bool = False
    leakage: Leakage = "error"
    conflicts: Conflicts = "keep"


class Input(Section):
    """The features of a store that heads see, and how heads are fitted on them.

    `outputs` side by side, by default all that are stored. Items of train in each of `views`, those of val and test in
    its first only; by default in the first that is stored, and pairs of texts as (u, v, |u − v|, u · v). The others
    stand in for the same key of `fit`.
    """

    outputs: Annotated[list[str], Field(min_length=1)] | None = None
    views: Annotated[list[SeenView], Field(min_length=1)] | None = None
    labels_per_class: LabelsPerClass | Annotated[list[LabelsPerClass], Field(min_length=1)] | None = None
    class_weights: ClassWeights | None = None
    choose: Choose | None = None
    folds: Annotated[int, Field(ge=2)] | None = None
    refit: Refit | None = None
    calibrate: Calibrate | None = None
    decide: Decide | None = None
    adapt: Adapt | None = None
    shares: Shares | None = None
    few_labels: FewLabels | None = None

    @property
    def expanded_views(self) -> tuple[str, ...] | None:
        """The names of the views, if any are asked for."""
        return views.expand_names(self.views, "views", also=[PAIR, *TEXTS]) if self.views else None


class Store(Section):
    """One `dataset` through one `backbone`, and the features that are stored of each item.

    `outputs` are LAYER or LAYER:POOLING; without any, the family's own default. `precision` is what the network
    computes in: auto is bfloat16 where the hardware does that, else float32; int8, on a processor, is calibrated on a
    sample of train, and refused where features move by more than the share `int8_tolerance` of their norm.
    `stored` is the format on disk.
    `runtime` is what computes the network: torch, its compiler (inductor, pictures only) or another library; auto is
    what the store began with, and for a new one the fastest that is installed and agrees with torch. `compile` the
    network (images) where torch runs it: auto where that pays for what is left to extract.
    `views` of each image: features/extraction/views.py says which there are. `pairs` of texts pass in one input, or
    (siamese) each text for itself. `size` is what pictures are resized for, in pixels, or [HEIGHT, WIDTH]; with an
    output that is a map the whole picture is stretched to it. `decode: exact` resizes just as torchvision does, slower
    and by 2 levels at most apart from `fast`, and `draft` decodes large JPEGs smaller.
    `prompt` stands before each text: a name of the network's own prompts, or a text; "" is none.
    `pca`: the number of principal components of train that are kept of each cell of a map.
    `input` is what heads see of it: everything, unless it says otherwise. More ways to see it stand under `inputs`.
    """

    dataset: str
    backbone: str
    outputs: Annotated[list[str], Field(min_length=1)] | None = None
    precision: Precision = "auto"
    int8_tolerance: Annotated[float, Field(gt=0, le=1)] = 0.1
    stored: Stored = "float16"
    runtime: Runtime = "auto"
    compile: Compile = "auto"
    views: Annotated[list[StoredView], Field(min_length=1)] | None = None
    pairs: Literal["concat", "siamese"] = "concat"
    size: Side | Annotated[list[Side], Field(min_length=2, max_length=2)] | None = None
    decode: Literal["fast", "exact", "draft"] = "fast"
    prompt: str | None = None
    pca: Annotated[int, Field(ge=1, le=65_536)] | None = None
    input: Input = Input()

    @property
    def extraction(self) -> dict[str, Any]:
        """The settings that determine its features, besides its dataset and backbone."""
        # stamps of settings once lacked them
        unset = {name for name in ("prompt", "pca", "runtime") if getattr(self, name) in (None, "auto")}
        unset |= set() if self.precision == INT8 else {"int8_tolerance"}
        return self.model_dump(exclude={"dataset", "backbone", "input", *unset})

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments with which a backbone is loaded besides outputs and precision; defaults are left out."""
        decode = self.decode if self.decode != "fast" else None
        keywords = {"size": self.size, "decode": decode, "prompt": self.prompt}
        return {name: value for name, value in keywords.items() if value is not None}

    @property
    def expanded_views(self) -> tuple[str, ...]:
        """The names of the views that are stored."""
        if self.pairs == "siamese":
            return TEXTS
        return views.expand_names(self.views or [views.IDENTITY], "views")


class Joined(Section):
    """Two `stores` side by side, their rows joined by the items' ids: heads are fitted on both as on one store.

    Either may be a joined one itself. Splits, labels and groups are the first one's. `missing: drop` leaves items out
    that the second store lacks. Of each store it holds what the store's own input sees: its outputs, and the first
    one's views unless its own `input` names others. Outputs are called STORE/OUTPUT there.
    """

    stores: Annotated[list[str], Field(min_length=2, max_length=2)]
    missing: Missing = "error"
    input: Input = Input()


class Run(Section):
    """How a run uses this machine; none of it changes a result, or reruns a stage.

    `device` that networks run on: auto, cpu, cuda, cuda:N or mps; ICEBOX_DEVICE goes before it. `batch_size` in items;
    `workers` are threads that read and decode. `engine` is where extraction runs: local, in one process;
    processes, in several on this machine; or ray, on a cluster. `processes` is their number: by default one a GPU, else
    2 on this machine, and with ray one a core.
    """

    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:[0-9]+)?|mps)$", examples=["cpu", "cuda:1", "mps"])] = (
        "auto"
    )
    batch_size: Annotated[int, Field(ge=1)] = 64
    workers: Annotated[int, Field(ge=1)] = 2
    engine: EngineName = "local"
    processes: Annotated[int, Field(ge=1, le=4096)] | None = None


class Ensemble(Section):
    """The best heads of a store (or of STORE/INPUT) on val answer together: `members` of them."""

    members: Annotated[int, Field(ge=2)] = 3


class Generate(Section):
    """New items of a backbone that makes some: shown beside those of `data`, judged by the backbone `judge`.

    `n` items a row of the sheet, `judged` items in all, both drawn from `seed`.
    """

    data: str
    judge: str
    n: Annotated[int, Field(ge=1)] = 10
    judged: Annotated[int, Field(ge=2)] = 10_000
    seed: int = 0


@dataclass(frozen=True)
class PluginEntry:
    """An entry of a catalogue whose other keys are parameters of a plugin's function.

    A dataset has `split`, `task` and `on_error`, a backbone that is trained here the dataset it learns from, `data`.
    """

    family: str
    parameters: dict[str, Any]
    split: Split | None = None
    task: Task = "classification"
    on_error: OnError = "fail"
    data: str = NO_DATA


@dataclass(frozen=True)
class Config:
    """The whole of params.yaml. Everything in it runs: each input with each head.

    An input is named after its store, STORE, or STORE/NAME where it stands under `inputs`.
    """

    datasets: dict[str, PluginEntry]
    backbones: dict[str, PluginEntry]
    pretrain: dict[str, PluginEntry]
    generate: dict[str, Generate]
    stores: dict[str, Store]
    inputs: dict[str, Input]
    heads: dict[str, PluginEntry]
    ensembles: dict[str, Ensemble]
    unfreeze: dict[str, Unfreeze]
    fit: Fit
    run: Run
    joined: dict[str, Joined] = field(default_factory=dict)

    def backbone(self, name: str) -> PluginEntry:
        """The entry of a backbone, fetched or trained here; of an unfrozen one, that of the backbone it began from."""
        if name in self.unfreeze:
            return self.backbone(self.stores[self.unfreeze[name].store].backbone)
        return self.backbones[name] if name in self.backbones else self.pretrain[name]

    def dataset_of(self, input_name: str) -> PluginEntry:
        """The entry of the dataset behind an input, or behind a store; of a joined one, that of its first member."""
        return self.datasets[self.dataset_name(input_name)]

    def members(self, store: str) -> list[str]:
        """The stores that a joined one is made of, in order; any other's own name."""
        if store not in self.joined:
            return [store]
        return [member for part in self.joined[store].stores for member in self.members(part)]

    def joined_outputs(self, store: str) -> dict[str, list[str] | None]:
        """Of each member of a joined store the outputs that the member's own input names; None for all."""
        return {member: self.stores[member].input.outputs for member in self.members(store)}

    def dataset_name(self, input_name: str) -> str:
        """The name of the dataset behind an input, or behind a store; of a joined one, that of its first member."""
        return self.stores[self.members(store_of(input_name))[0]].dataset

    def backbone_name(self, store: str) -> str:
        """The name of a store's backbone; of a joined one, those of all its members."""
        return " + ".join(dict.fromkeys(self.stores[member].backbone for member in self.members(store)))

    def task(self, input_name: str) -> Task:
        """The task of the dataset behind an input, or behind a store."""
        return self.dataset_of(input_name).task

    def every_input(self) -> dict[str, Input]:
        """All inputs by name: each store's own, followed by its entries of `inputs`; joined stores come last."""
        own = {name: store.input for name, store in self.stores.items()}
        for name, joined in self.joined.items():
            views = joined.input.views or self.stores[self.members(name)[0]].input.views
            own[name] = joined.input.model_copy(update={"views": views})
        return {
            name: entry
            for store, own_input in own.items()
            for name, entry in {
                store: own_input,
                **{name: entry for name, entry in self.inputs.items() if store_of(name) == store},
            }.items()
        }

    def keeps_val(self, input_name: str) -> bool:
        """Whether heads on an input must leave val to others: ensembles choose by it, and unfreezing does."""
        return input_name in self.ensembles or any(
            entry.start_input == input_name and entry.start_head != FRESH for entry in self.unfreeze.values()
        )

    def without_near_duplicates(self, input_name: str) -> bool:
        """Whether heads on an input are fitted without the items that have near-duplicates on another side."""
        split = self.dataset_of(input_name).split
        return split is not None and split.leakage == "near"

    def fit_options(self, input_name: str) -> Fit:
        """Settings of the fits on an input: `fit`, with the input's own overrides.

        Heads of another task than classification are chosen by its first metric where `fit` names none of it.
        """
        entry = self.every_input()[input_name]
        overrides = {name: getattr(entry, name) for name in Fit.model_fields.keys() & Input.model_fields.keys()}
        fit = self.fit.model_copy(update={name: value for name, value in overrides.items() if value is not None})
        task = self.task(input_name)
        if task != "classification" and fit.choose not in metrics.choices(task):
            return fit.model_copy(update={"choose": metrics.primary(task).name})
        return fit


def store_of(input_name: str) -> str:
    """The store of an input: STORE of STORE or STORE/NAME."""
    return input_name.partition("/")[0]
