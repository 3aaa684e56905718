"""A plugin's parameters, read from its file's text: checking params.yaml must not import torch or lightgbm.

The signature is the schema: names, types and defaults are written once, where they are used.
"""

import ast
import copy
import dataclasses
import functools
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import annotated_types
from pydantic import ConfigDict, TypeAdapter, ValidationError

from icebox.features import plugins
from icebox.features.buckets import path as buckets
from icebox.features.buckets import urls
from icebox.features.errors import IceboxError, suggestion
from icebox.features.json_files import shortened

NAMES: dict[str, Any] = {  # what an annotation may be made of; a path and a sequence are text and list in params.yaml
    "bool": bool, "dict": dict, "float": float, "int": int, "list": list, "str": str, "tuple": tuple,
    "Path": str, "Sequence": list, "Literal": Literal, "Annotated": Annotated,
    **{name: getattr(annotated_types, name) for name in ("Ge", "Gt", "Le", "Lt", "Interval", "MinLen", "Len")},
}  # fmt: skip
FILLED_IN = {"data", "folder", "seed", "self"}  # arguments that the stage passes, though `seed` may be overridden
STAGE_ONLY = {"class_texts"}  # arguments of a head that no params.yaml can hold
BOUNDS = {  # of annotated_types, in words
    "ge": "at least {:,}",
    "gt": "more than {:,}",
    "le": "at most {:,}",
    "lt": "less than {:,}",
    "min_length": "{} or more",
    "max_length": "at most {} of them",
}
BOUND_ERRORS = {  # pydantic's kinds of error for a bound that is not kept
    "greater_than", "greater_than_equal", "less_than", "less_than_equal", "too_long", "too_short",
}  # fmt: skip


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


def module(file: Path) -> ast.Module:
    """The syntax tree of a file, which callers leave as it is. Raises IceboxError for a file that is no Python."""
    try:
        return parsed(file.read_text(encoding="utf-8"))
    except SyntaxError as reason:
        raise IceboxError(f"{file}, line {reason.lineno}: {reason.msg}") from None


@functools.lru_cache(maxsize=128)  # a file is asked for each of its parameters
def parsed(text: str) -> ast.Module:
    """The syntax tree of a module's text."""
    return ast.parse(text)


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


def check_type(value: object, annotation: ast.expr | None, file: Path, where: str) -> None:
    """Raise IceboxError unless `value` has the annotated type, exactly (no text for a number), and keeps its bounds.

    A number that is not finite is never right.
    """
    if annotation is None:
        return
    try:
        config = ConfigDict(strict=True, allow_inf_nan=False)
        TypeAdapter(evaluate(annotation, file), config=config).validate_python(value)
    except ValidationError as errors:
        choices = [each for each in errors.errors() if each["type"] == "literal_error"]
        if len(choices) == errors.error_count():  # the first is enough: others are further elements of a list
            expected, found = choices[0]["ctx"]["expected"], choices[0]["input"]
            raise IceboxError(f"{where}: expected {expected}, found {reprlib.repr(found)}") from None
        with_bounds = any(each["type"] in BOUND_ERRORS for each in errors.errors())
        expected = ast.unparse(TypesInWords(file, with_bounds=with_bounds).visit(copy.deepcopy(annotation)))
        raise IceboxError(f"{where}: expected {expected}, found {shortened(value)}") from None


def evaluate(annotation: ast.expr, file: Path) -> Any:
    """The type that an annotation of a plugin's file names, evaluated without importing the file.

    It may use Literal, Annotated with bounds of annotated_types (`Annotated[int, Ge(1)]`), and names that the file
    gives to types at its top (`Column = int | str`). Raises IceboxError for any other name.
    """
    try:
        return eval(ast.unparse(annotation), {"__builtins__": {}}, TypeNames(file))
    except NameError as reason:
        raise IceboxError(
            f"{file}: expected a plain type in the signature, found {ast.unparse(annotation)} ({reason})"
        ) from None


class TypeNames(Mapping[str, Any]):
    """The names of types in a file: NAMES, and the file's own, evaluated when they are asked for."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.own = {
            node.targets[0].id: node.value
            for node in module(file).body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }

    def __getitem__(self, name: str) -> Any:
        return NAMES[name] if name in NAMES else evaluate(self.own[name], self.file)

    def __iter__(self) -> Any:
        return iter(NAMES | self.own)

    def __len__(self) -> int:
        return len(NAMES | self.own)


class TypesInWords(ast.NodeTransformer):
    """`Annotated[int, Ge(1)]` becomes `int at least 1` or, without bounds, `int`; and a name that the file gives to a
    type becomes this type."""

    def __init__(self, file: Path, *, with_bounds: bool) -> None:
        self.own, self.with_bounds = TypeNames(file).own, with_bounds

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """Replace a name of the file's own."""
        plain: ast.expr = self.visit(copy.deepcopy(self.own[node.id])) if node.id in self.own else node
        return plain

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        """Replace an Annotated by its first argument and its bounds, as a name that no code could have."""
        self.generic_visit(node)
        if isinstance(node.value, ast.Name) and node.value.id == "Annotated" and isinstance(node.slice, ast.Tuple):
            plain, *bounds = node.slice.elts
            if not self.with_bounds:
                return plain
            values = [vars_of(eval(ast.unparse(bound), {"__builtins__": {}}, NAMES)) for bound in bounds]
            words = [BOUNDS[key].format(value) for each in values for key, value in each.items()]
            return ast.Name(f"{ast.unparse(plain)} {' and '.join(words)}")
        return node


def vars_of(bound: Any) -> dict[str, object]:
    """The limits that a bound of annotated_types sets, by their names."""
    names = (field.name for field in dataclasses.fields(bound))
    limits = {name: getattr(bound, name) for name in names}
    return {name: value for name, value in limits.items() if value is not None and (name, value) != ("min_length", 0)}
