"""Loading params.yaml: every entry is parsed and checked before anything runs, and an error is one line."""

from pathlib import Path
from typing import Any, get_args

from icebox.features import plugins
from icebox.features.errors import IceboxError, suggestion
from icebox.features.json_files import shortened
from icebox.features.manifest.validation import LabelTask
from icebox.pipeline.config import names, plugin_schema
from icebox.pipeline.config.checks.references import check_references
from icebox.pipeline.config.fit import Fit
from icebox.pipeline.config.schema import (
    NO_DATA,
    Config,
    Ensemble,
    Generate,
    Input,
    Joined,
    OnError,
    PluginEntry,
    Run,
    Split,
    Store,
)
from icebox.pipeline.config.section import S, parse_section
from icebox.pipeline.config.unfreeze import Unfreeze
from icebox.pipeline.config.yaml_file import errors_in_one_line, read_yaml
from icebox.pipeline.project import paths

SECTIONS = (
    "datasets", "backbones", "pretrain", "stores", "joined", "inputs", "heads", "ensembles", "unfreeze", "generate",
    "fit", "run",
)  # fmt: skip
GONE = {  # sections of earlier versions → what to do instead
    "select": "what stands in params.yaml runs: take out of `stores` and `heads` what should not",
    "extract": "batch_size and workers stand under `run`, on_error under each dataset",
}


@errors_in_one_line()
def load(path: Path = paths.PARAMS) -> Config:
    """Read and check params.yaml. Raises IceboxError with the place of the first thing wrong."""
    raw = read_yaml(path)
    for name in raw:
        if name in GONE:
            raise IceboxError(f"{name}: there is no such section any more; {GONE[name]}")
        if name not in SECTIONS:
            raise IceboxError(f"{name}: no such section; {suggestion(str(name), list(SECTIONS))}")
    config = Config(
        datasets=catalog(raw, "datasets", "icebox.features.datasets", "Source.__init__", key_of_family="source"),
        backbones=catalog(raw, "backbones", "icebox.features.backbones", "fetch"),
        pretrain=catalog(raw, "pretrain", "icebox.features.backbones", "pretraining"),
        generate=sections(Generate, raw, "generate"),
        stores=sections(Store, raw, "stores"),
        inputs=sections(Input, raw, "inputs", separator="/"),
        heads=catalog(raw, "heads", "icebox.pipeline.heads", "build", grid=True),
        ensembles=sections(Ensemble, raw, "ensembles", separator="/"),
        unfreeze=sections(Unfreeze, raw, "unfreeze"),
        fit=parse_section(Fit, raw.get("fit", {}), "fit"),
        run=parse_section(Run, raw.get("run", {}), "run"),
        joined=sections(Joined, raw, "joined"),
    )
    check_references(config)
    return config


def mapping(raw: dict[str, Any], name: str, *, separator: str | None = None) -> dict[str, Any]:
    """A section of named entries as written; absent or empty means none, and a list of names entries without settings.

    With a `separator`, a name may have two parts.
    """
    value = {} if raw.get(name) is None else raw[name]
    if isinstance(value, list) and name == "heads":
        value = unrepeated(value, name)
    if not isinstance(value, dict):
        raise IceboxError(f"{name}: expected `name: {{…}}` entries, found {shortened(value)}")
    for key in value:
        parts = str(key).split(separator, 1) if separator else [str(key)]
        for part in parts:
            names.check_name(part, f"{name}.{key}")
    return {str(key): entry for key, entry in value.items()}


def unrepeated(listed: list[Any], where: str) -> dict[str, None]:
    """Names of a list as entries without settings. Raises IceboxError for one that is no name or stands there twice."""
    for name in listed:
        if not isinstance(name, str):
            raise IceboxError(f"{where}: expected names, found {shortened(name)}")
        if listed.count(name) > 1:
            raise IceboxError(f"{where}: '{name}' stands there twice")
    return dict.fromkeys(listed)


def sections(kind: type[S], raw: dict[str, Any], name: str, *, separator: str | None = None) -> dict[str, S]:
    """A section of named entries, each of which is a section of type `kind`."""
    entries = mapping(raw, name, separator=separator)
    return {key: parse_section(kind, value, f"{name}.{key}") for key, value in entries.items()}


def catalog(
    raw: dict[str, Any], name: str, package: str, function: str, *, key_of_family: str = "family", grid: bool = False
) -> dict[str, PluginEntry]:
    """A section whose entries are parameters of plugins. An entry's plugin is its family, or else its own name.

    With `grid`, a list stands for several values of a parameter, and an entry without any takes the plugin's own,
    SEARCH.
    """
    entries = {}
    for key, value in mapping(raw, name).items():
        where = f"{name}.{key}"
        if not isinstance(value, dict | None):
            raise IceboxError(f"{where}: expected parameters, found {shortened(value)}")
        parameters = dict(value or {})
        family = str(parameters.pop(key_of_family, key))
        file = plugins.file(package, family, where)
        if name == "datasets":
            common = dataset_keys(parameters, where, file)
        else:
            common = pretrain_keys(parameters, file, where) if name == "pretrain" else {}
        if grid and not parameters:
            parameters = default_search(file)
        if grid:
            parameters = plugin_schema.with_whole_lists(file, function, parameters)
        plugin_schema.check(file, function, parameters, where=where, grid=grid)
        entries[key] = PluginEntry(family, parameters, **common)
    return entries


def dataset_keys(parameters: dict[str, Any], where: str, file: Path) -> dict[str, Any]:
    """`split`, `task` and `on_error`, which every dataset may have, taken out of its parameters.

    The source in `file` may have a task of its own, TASK, which is then the only one.

    `split: COLUMN`, or `column:` among its keys, stays a parameter: where the dataset itself says the split.
    """
    keys = parameters.pop("split", {})
    keys = dict(keys) if isinstance(keys, dict) else {"column": keys}
    if (column := keys.pop("column", None)) is not None:
        parameters["split"] = column
    split = parse_section(Split, keys, f"{where}.split")
    own_task = plugin_schema.constant(file, "TASK")
    tasks = [str(own_task)] if own_task else list(get_args(LabelTask))
    task = parameters.pop("task", tasks[0])
    if task not in tasks:
        known = f"{file.stem} is for {own_task} only; leave it out" if own_task else suggestion(str(task), tasks)
        raise IceboxError(f"{where}.task: no task named '{task}'; {known}")
    on_error = parameters.pop("on_error", "fail")
    if on_error not in get_args(OnError):
        raise IceboxError(f"{where}.on_error: expected {' or '.join(get_args(OnError))}, found {on_error!r}")
    if split.val + split.test >= 1:
        raise IceboxError(
            f"{where}.split: expected val + test below 1, so that train gets items, found {split.val} + {split.test}"
        )
    if split.stratify and task not in ("classification", "multilabel"):
        raise IceboxError(f"{where}.split.stratify: needs a class of each item, which {task} has not; leave it out")
    return {"split": split, "task": task, "on_error": on_error}


def pretrain_keys(parameters: dict[str, Any], file: Path, where: str) -> dict[str, Any]:
    """`data`, the dataset that a backbone is trained on, taken out of its parameters."""
    if "data" not in parameters:
        raise IceboxError(f"{where}.data: missing; expected the dataset that it is trained on, or {NO_DATA}")
    data = str(parameters.pop("data"))
    if plugin_schema.accepts(file, "pretraining", "data") != (data != NO_DATA):
        expected = f"{NO_DATA}, since {file.stem} draws its own" if data != NO_DATA else "the name of a dataset"
        raise IceboxError(f"{where}.data: expected {expected}; found {data}")
    return {"data": data}


def default_search(file: Path) -> dict[str, Any]:
    """The grid that a head's file names for an entry without settings; none where it names none."""
    search: dict[str, Any] = plugin_schema.constant(file, "SEARCH") or {}  # type: ignore[assignment]
    return dict(search)
