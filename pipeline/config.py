"""params.yaml, typed at the door: every entry is checked before anything runs, and an error is one line."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from features import plugins
from features.compiled import Compile
from features.errors import IceboxError
from features.precision import Precision, Stored
from pipeline import paths, signature

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.]*(-[A-Za-z0-9_.]+)*")
Fraction = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """A part of params.yaml: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Split(Section):
    """Fractions of a dataset's items that go to val and test, drawn by a hash of each item's content."""

    val: Fraction = 0.2
    test: Fraction = 0.2
    seed: int = 0


class StoreExtract(Section):
    """What is stored of each item.

    `outputs` are LAYER or LAYER:POOLING; without any, the family's own default. `precision` is what the network
    computes in: auto is bfloat16 where the hardware does that, else float32. `stored` is the format on disk.
    `compile` the network (images, `last` only): auto where that pays for what is left to extract.
    """

    outputs: Annotated[list[str], Field(min_length=1)] | None = None
    precision: Precision = "auto"
    stored: Stored = "float16"
    compile: Compile = "auto"


class StoreFit(Section):
    """What the heads see of a store: `labels_per_class` items of each class in train and as many in val, or all."""

    labels_per_class: Literal["all"] | Annotated[int, Field(ge=1)] = "all"


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
    """How every head is fitted. `choose`: the val score that picks the winner of a grid."""

    choose: Literal["accuracy", "macro_f1", "log_loss"] = "accuracy"
    seed: int = 0


class Select(Section):
    """What runs: each store named here with each head named here."""

    stores: Annotated[list[str], Field(min_length=1)]
    heads: Annotated[list[str], Field(min_length=1)]


@dataclass(frozen=True)
class Entry:
    """An entry of a catalogue whose other keys are parameters of a plugin's function."""

    family: str
    parameters: dict[str, Any]
    split: Split | None = None


@dataclass(frozen=True)
class Config:
    """The whole of params.yaml."""

    select: Select
    datasets: dict[str, Entry]
    backbones: dict[str, Entry]
    pretrain: dict[str, Entry]
    stores: dict[str, Store]
    heads: dict[str, Entry]
    extract: Extract
    fit: Fit

    def backbone(self, name: str) -> Entry:
        """A backbone's entry, fetched or trained here."""
        return self.backbones[name] if name in self.backbones else self.pretrain[name]


SECTIONS = ("select", "datasets", "backbones", "pretrain", "stores", "heads", "extract", "fit")
S = TypeVar("S", bound=Section)


def load(path: Path = paths.PARAMS) -> Config:
    """Read and check params.yaml. Raises IceboxError with the place of the first thing wrong."""
    raw = read_yaml(path)
    for name in raw:
        if name not in SECTIONS:
            raise IceboxError(f"{name}: no such section; {plugins.suggestion(str(name), list(SECTIONS))}")
    config = Config(
        select=section(Select, raw.get("select", {}), "select"),
        datasets=catalogue(raw, "datasets", "features.datasets", "Source.__init__", key_of_family="source"),
        backbones=catalogue(raw, "backbones", "features.backbones", "fetch"),
        pretrain=catalogue(raw, "pretrain", "features.backbones", "pretraining"),
        stores={key: section(Store, value, f"stores.{key}") for key, value in mapping(raw, "stores").items()},
        heads=catalogue(raw, "heads", "pipeline.heads", "build", grid=True),
        extract=section(Extract, raw.get("extract", {}), "extract"),
        fit=section(Fit, raw.get("fit", {}), "fit"),
    )
    check_references(config)
    return config


def read_yaml(path: Path) -> dict[str, Any]:
    """The file's top-level dictionary."""
    try:
        raw = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))  # YAML 1.2, as DVC reads it
    except FileNotFoundError:
        raise IceboxError(f"{path}: not found; run this in the project's root folder") from None
    except YAMLError as reason:
        raise IceboxError(f"{path}: {' '.join(str(reason).split())}") from None
    if not isinstance(raw, dict):
        raise IceboxError(f"{path}: expected sections ({', '.join(SECTIONS)}), found {type(raw).__name__}")
    return raw


def mapping(raw: dict[str, Any], name: str) -> dict[str, Any]:
    """A catalogue as written; absent or empty means none."""
    value = raw.get(name) or {}
    if not isinstance(value, dict):
        raise IceboxError(f"{name}: expected `name: {{…}}` entries, found {value!r}")
    for key in value:
        if not NAME.fullmatch(str(key)):
            raise IceboxError(f"{name}.{key}: a name is made of letters, digits, '_', '.' and single '-'")
    return {str(key): entry for key, entry in value.items()}


def catalogue(
    raw: dict[str, Any], name: str, package: str, function: str, *, key_of_family: str = "family", grid: bool = False
) -> dict[str, Entry]:
    """A catalogue whose entries are plugins' parameters. An entry's plugin is its family, or else its own name."""
    entries = {}
    for key, value in mapping(raw, name).items():
        where = f"{name}.{key}"
        if not isinstance(value, dict | None):
            raise IceboxError(f"{where}: expected parameters, found {value!r}")
        parameters = dict(value or {})
        family = str(parameters.pop(key_of_family, key))
        split = section(Split, parameters.pop("split", {}), f"{where}.split") if name == "datasets" else None
        signature.check(plugins.file(package, family, where), function, parameters, where=where, grid=grid)
        entries[key] = Entry(family, parameters, split)
    return entries


def section(kind: type[S], value: object, where: str) -> S:
    """A typed section; its errors get their place in params.yaml."""
    try:
        return kind.model_validate({} if value is None else value)
    except ValidationError as errors:
        first = errors.errors()[0]
        # pydantic's place of a union's error holds the name of the branch too ("constrained-int"), which is no key
        place = ".".join([where, *(str(part) for part in first["loc"] if str(part).isidentifier())])
        if first["type"] == "extra_forbidden":
            known = list(kind_at(kind, first["loc"][:-1]).model_fields)
            raise IceboxError(f"{place}: no such key; {plugins.suggestion(str(first['loc'][-1]), known)}") from None
        if first["type"] == "missing":
            raise IceboxError(f"{place}: missing") from None
        raise IceboxError(f"{place}: {first['msg']}, found {first['input']!r}") from None


def kind_at(kind: type[Section], place: Sequence[int | str]) -> type[Section]:
    """The section that lies at this place inside another."""
    for name in place:
        inner = kind.model_fields[str(name)].annotation
        kind = inner if isinstance(inner, type) and issubclass(inner, Section) else kind
    return kind


def check_references(config: Config) -> None:
    """Raise IceboxError for a name that nothing stands behind."""
    for name in sorted(config.backbones.keys() & config.pretrain.keys()):
        raise IceboxError(f"pretrain.{name}: this name stands under backbones: too; give one of them another")
    for key, store in config.stores.items():
        refer("dataset", store.dataset, list(config.datasets), f"stores.{key}.dataset")
        refer("backbone", store.backbone, [*config.backbones, *config.pretrain], f"stores.{key}.backbone")
    for store_name in config.select.stores:
        refer("store", store_name, list(config.stores), "select.stores")
    for head in config.select.heads:
        refer("head", head, list(config.heads), "select.heads")


def refer(kind: str, name: str, known: list[str], where: str) -> None:
    """Raise IceboxError unless `name` is known."""
    if name not in known:
        raise IceboxError(f"{where}: no {kind} named '{name}'; {plugins.suggestion(name, known)}")
