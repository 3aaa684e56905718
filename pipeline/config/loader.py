"""Loading params.yaml: every entry is parsed and checked before anything runs, and an error is one line."""

import re
from pathlib import Path
from typing import Any, get_args

from icebox.features import plugins
from icebox.features.errors import IceboxError, suggestion
from icebox.features.manifest.validation import Task
from icebox.pipeline.config import plugin_schema
from icebox.pipeline.config.references import check_references
from icebox.pipeline.config.schema import (
    NO_DATA,
    Config,
    Extract,
    Fit,
    Generate,
    PluginEntry,
    Select,
    Split,
    Store,
    Unfreeze,
)
from icebox.pipeline.config.section import S, parse_section
from icebox.pipeline.config.yaml_file import errors_in_one_line, read_yaml
from icebox.pipeline.project import paths

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.]*(-[A-Za-z0-9_.]+)*")


SECTIONS = ("select", "datasets", "backbones", "pretrain", "generate", "stores", "heads", "unfreeze", "extract", "fit")


@errors_in_one_line()
def load(path: Path = paths.PARAMS) -> Config:
    """Read and check params.yaml. Raises IceboxError with the place of the first thing wrong."""
    raw = read_yaml(path)
    for name in raw:
        if name not in SECTIONS:
            raise IceboxError(f"{name}: no such section; {suggestion(str(name), list(SECTIONS))}")
    config = Config(
        select=parse_section(Select, raw.get("select", {}), "select"),
        datasets=catalog(raw, "datasets", "icebox.features.datasets", "Source.__init__", key_of_family="source"),
        backbones=catalog(raw, "backbones", "icebox.features.backbones", "fetch"),
        pretrain=catalog(raw, "pretrain", "icebox.features.backbones", "pretraining"),
        generate={
            key: parse_section(Generate, value, f"generate.{key}") for key, value in mapping(raw, "generate").items()
        },
        stores=sections(Store, raw, "stores"),
        heads=catalog(raw, "heads", "icebox.pipeline.heads", "build", grid=True),
        unfreeze={
            key: parse_section(Unfreeze, value, f"unfreeze.{key}") for key, value in mapping(raw, "unfreeze").items()
        },
        extract=parse_section(Extract, raw.get("extract", {}), "extract"),
        fit=parse_section(Fit, raw.get("fit", {}), "fit"),
    )
    check_references(config)
    return config


def mapping(raw: dict[str, Any], name: str) -> dict[str, Any]:
    """A section of named entries as written; absent or empty means none."""
    value = {} if raw.get(name) is None else raw[name]
    if not isinstance(value, dict):
        raise IceboxError(f"{name}: expected `name: {{…}}` entries, found {value!r}")
    for key in value:
        if not NAME.fullmatch(str(key)):
            raise IceboxError(f"{name}.{key}: a name is made of letters, digits, '_', '.' and single '-'")
    return {str(key): entry for key, entry in value.items()}


def sections(kind: type[S], raw: dict[str, Any], name: str) -> dict[str, S]:
    """A section of named entries, each of which is a section of type `kind`."""
    return {key: parse_section(kind, value, f"{name}.{key}") for key, value in mapping(raw, name).items()}


def catalog(
    raw: dict[str, Any], name: str, package: str, function: str, *, key_of_family: str = "family", grid: bool = False
) -> dict[str, PluginEntry]:
    """A section whose entries are parameters of plugins. An entry's plugin is its family, or else its own name.

    With `grid`, a list stands for several values of a parameter.
    """
    entries = {}
    for key, value in mapping(raw, name).items():
        where = f"{name}.{key}"
        if not isinstance(value, dict | None):
            raise IceboxError(f"{where}: expected parameters, found {value!r}")
        parameters = dict(value or {})
        family = str(parameters.pop(key_of_family, key))
        file = plugins.file(package, family, where)
        if name == "datasets":
            common = dataset_keys(parameters, where)
        else:
            common = pretrain_keys(parameters, file, where) if name == "pretrain" else {}
        plugin_schema.check(file, function, parameters, where=where, grid=grid)
        entries[key] = PluginEntry(family, parameters, **common)
    return entries


def dataset_keys(parameters: dict[str, Any], where: str) -> dict[str, Any]:
    """`split` and `task`, which every dataset may have, taken out of its parameters.

    `split: COLUMN`, or `column:` among its keys, stays a parameter: where the dataset itself says the split.
    """
    keys = parameters.pop("split", {})
    keys = dict(keys) if isinstance(keys, dict) else {"column": keys}
    if (column := keys.pop("column", None)) is not None:
        parameters["split"] = column
    split = parse_section(Split, keys, f"{where}.split")
    task = parameters.pop("task", "classification")
    if task not in get_args(Task):
        raise IceboxError(f"{where}.task: no task named '{task}'; {suggestion(str(task), list(get_args(Task)))}")
    if split.val + split.test >= 1:
        raise IceboxError(
            f"{where}.split: expected val + test below 1, so that train gets items, found {split.val} + {split.test}"
        )
    if split.stratify and task == "regression":
        raise IceboxError(f"{where}.split.stratify: works within classes, and a regression has none; leave it out")
    return {"split": split, "task": task}


def pretrain_keys(parameters: dict[str, Any], file: Path, where: str) -> dict[str, Any]:
    """`data`, the dataset that a backbone is trained on, taken out of its parameters."""
    data = str(parameters.pop("data", NO_DATA))
    if plugin_schema.accepts(file, "pretraining", "data") != (data != NO_DATA):
        expected = f"{NO_DATA}, since {file.stem} draws its own" if data != NO_DATA else "the name of a dataset"
        raise IceboxError(f"{where}.data: expected {expected}; found {data}")
    return {"data": data}
