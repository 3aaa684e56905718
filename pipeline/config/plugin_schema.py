"""A plugin's parameters, read from its file's text: checking params.yaml must not import torch or lightgbm.

The signature is the schema: names, types and defaults are written once, where they are used.
"""

import ast
import contextlib
import json
from pathlib import Path
from typing import Any

from icebox.features import plugins
from icebox.features.buckets import path as buckets
from icebox.features.buckets import urls
from icebox.features.errors import IceboxError, suggestion
from icebox.pipeline.config.annotations import check_type
from icebox.pipeline.config.syntax import module

FILLED_IN = {"data", "folder", "seed", "self"}  # arguments that the stage passes, though `seed` may be overridden
STAGE_ONLY = {"class_texts"}  # arguments of a head that no params.yaml can hold


class MissingFunctionError(IceboxError):
    """A plugin's file lacks a function that is asked for."""


def check(file: Path, function: str, parameters: dict[str, Any], *, where: str, grid: bool = False) -> None:
    """Raise IceboxError unless `parameters` fit the keywords of `function` (a method as "Class.name") in `file`.

    With `grid`, a list stands for several values, each of which must fit.
    """
    check_values(file, function, parameters, where=where, grid=grid)
    arguments = definition(file, function).args
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if default is None and argument.arg not in parameters and argument.arg not in FILLED_IN:
            raise IceboxError(f"{where}.{argument.arg}: missing, and it has no default")


def check_values(file: Path, function: str, parameters: dict[str, Any], *, where: str, grid: bool = False) -> None:
    """Like `check`, where further parameters may be missing."""
    arguments = definition(file, function).args
    accepted: dict[str, Any] = {a.arg: a.annotation for a in arguments.kwonlyargs if a.arg not in STAGE_ONLY}
    for name, value in parameters.items():
        if name not in accepted:
            raise IceboxError(f"{where}.{name}: no such parameter; {suggestion(str(name), sorted(accepted))}")
        if accepted[name] is not None and "Path" in ast.unparse(accepted[name]):
            refuse_credentials(value, f"{where}.{name}")
        for element in value if grid and isinstance(value, list) else [value]:
            check_type(element, accepted[name], file, f"{where}.{name}")
        if grid and value == []:
            raise IceboxError(f"{where}.{name}: expected at least one value, found an empty list")


def refuse_credentials(value: object, where: str) -> None:
    """Raise IceboxError for a URL with credentials, which would be kept in stamps, stores and results."""
    for text in flattened(value):
        if urls.is_url(text) and (urls.USER.search(text) or urls.QUERY.search(text)):
            urls.checked(text, where=where)


def with_whole_lists(file: Path, function: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters, in which a list that is one value, as it stands, has become the grid of that value alone: one
    whose elements are no values, of a parameter that takes lists (`templates: [TEXT, TEXT]`)."""
    annotations = {argument.arg: argument.annotation for argument in definition(file, function).args.kwonlyargs}

    def fits(value: object, name: str) -> bool:
        try:
            check_type(value, annotations[name], file, "")
        except IceboxError:
            return False
        return True

    return {
        name: [value]
        if name in annotations
        and isinstance(value, list)
        and value
        and not any(fits(element, name) for element in value)
        and fits(value, name)
        else value
        for name, value in parameters.items()
    }


def fits_head(family: str, name: str, value: object) -> bool:
    """Whether a parameter of a head's family may have a value."""
    try:
        check_values(plugins.file("icebox.pipeline.heads", family), "build", {name: value}, where="", grid=True)
    except IceboxError:
        return False
    return True


def gives_probabilities(family: str) -> bool:
    """Whether the heads of a family have probabilities: all, but where the file says `PROBABILITIES = False`."""
    return constant(plugins.file("icebox.pipeline.heads", family), "PROBABILITIES") is not False


def head_tasks(family: str) -> tuple[str, ...]:
    """The tasks that the heads of a family are for: those that its file names, `TASKS = ("detection",)`; else classes,
    of items and of a picture's pixels, and the further tasks that the keyword `task` of `build` names."""
    file = plugins.file("icebox.pipeline.heads", family)
    if named := constant(file, "TASKS"):
        return tuple(named)  # type: ignore[arg-type]
    if not accepts(file, "build", "task"):
        return ("classification", "segmentation")
    arguments = definition(file, "build").args.kwonlyargs
    annotation = next(each.annotation for each in arguments if each.arg == "task")
    named = {node.value for node in ast.walk(annotation) if isinstance(node, ast.Constant)} if annotation else set()
    further = [task for task in ("regression", "multilabel", "detection") if task in (named or {"regression"})]
    return ("classification", "segmentation", *further)


def no_sets(family: str) -> str:
    """Why a family of heads is refused where labels are sets: the end of an error."""
    return f"'{family}' has no form for sets of labels (task: multilabel); {', '.join(of_sets())} have"


def of_sets(*, with_probabilities: bool = False) -> list[str]:
    """The families of heads that there are for sets of labels."""
    able = [name for name in plugins.names("icebox.pipeline.heads") if "multilabel" in head_tasks(name)]
    return [name for name in able if gives_probabilities(name) or not with_probabilities]


def path_values(file: Path, function: str, parameters: dict[str, Any]) -> list[Path]:
    """The paths among the arguments of a plugin's function, defaults included: those whose annotation names Path."""
    arguments = definition(file, function).args
    paths: list[Path] = []
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if argument.annotation is not None and "Path" in ast.unparse(argument.annotation):
            value = parameters.get(argument.arg, default_path(default))
            paths += map(place, flattened(value))
    return paths


def function_names(file: Path, parameters: dict[str, Any]) -> list[str]:
    """The project's own functions that the parameters of `fetch` name: those whose annotation names Function."""
    if not defines(file, "fetch"):
        return []
    annotated = {
        argument.arg
        for argument in definition(file, "fetch").args.kwonlyargs
        if argument.annotation is not None and "Function" in ast.unparse(argument.annotation)
    }
    return [value for name, value in parameters.items() if name in annotated and value is not None]


def flattened(value: Any) -> list[str]:
    """The paths of an argument: one, several, or some for each split."""
    if isinstance(value, dict):
        return [path for each in value.values() for path in flattened(each)]
    if isinstance(value, list):
        return [path for each in value for path in flattened(each)]
    return [] if value is None else [value]


def place(path: str) -> Path:
    """The path itself, or for a pattern such as `data/*.parquet` the folder in which it is looked for."""
    whole = buckets.place(path)
    if not any(wildcard in path for wildcard in "*?[") or whole.exists():
        return whole
    return next(folder for folder in whole.parents if not any(wildcard in str(folder) for wildcard in "*?["))


def dataset_paths(family: str, parameters: dict[str, Any]) -> list[Path]:
    """The places of a dataset's raw data: the paths among its source's arguments."""
    return path_values(plugins.file("icebox.features.datasets", family), "Source.__init__", parameters)


def default_path(default: ast.expr | None) -> str | None:
    """The text of a default such as `Path("data/raw/mnist")`, if it is one."""
    if isinstance(default, ast.Call) and isinstance(default.args[0], ast.Constant):
        return str(default.args[0].value)
    return None


def default_value(default: ast.expr, file: Path) -> object:
    """A default as params.yaml would have it, or None where it is None or no plain value."""
    if isinstance(default, ast.Name):
        with contextlib.suppress(ValueError):
            return constant(file, default.id)
    if isinstance(default, ast.Call) and ast.unparse(default.func) == "Path" and default.args:
        default = default.args[0]
    with contextlib.suppress(ValueError, TypeError):
        value: object = ast.literal_eval(default)
        json.dumps(value)
        return value
    return None


def accepts(file: Path, function: str, name: str) -> bool:
    """Whether `function` in `file` has the keyword `name`."""
    return name in {argument.arg for argument in definition(file, function).args.kwonlyargs}


def streaming_heads() -> list[str]:
    """The families of heads that read features from disk where they are large."""
    return [name for name, file in plugins.files("icebox.pipeline.heads").items() if constant(file, "STREAMS") is True]


def constant(file: Path, name: str) -> object:
    """The literal that a file gives this name at its top, found without importing it; None where there is none."""
    for node in module(file).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]:
            return ast.literal_eval(node.value)
    return None


def defines(file: Path, function: str) -> bool:
    """Whether `file` defines `function` at its top, or the method "Class.name"."""
    try:
        return bool(definition(file, function))
    except MissingFunctionError:
        return False


def definition(file: Path, function: str) -> ast.FunctionDef:
    """The syntax tree of a function, or of a method as "Class.name"."""
    body: list[ast.stmt] = module(file).body
    *classes, last = function.split(".")
    for name in classes:
        body = next((node.body for node in body if isinstance(node, ast.ClassDef) and node.name == name), [])
    for node in body:
        if isinstance(node, ast.FunctionDef) and node.name == last:
            return node
    if last == "__init__":  # a source without parameters needs no constructor
        return ast.parse("def __init__(self): ...").body[0]  # type: ignore[return-value]
    raise MissingFunctionError(f"{file}: expected a function '{function}', found none")
