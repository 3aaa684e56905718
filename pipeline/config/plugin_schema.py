"""A plugin's parameters, read from its file's text: checking params.yaml must not import torch or lightgbm.

The signature is the schema: names, types and defaults are written once, where they are used.
"""

import ast
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from icebox.features import plugins
from icebox.features.errors import IceboxError

BUILTINS: dict[str, Any] = {  # a path is text in params.yaml
    "bool": bool, "dict": dict, "float": float, "int": int, "list": list, "str": str, "tuple": tuple,
    "Path": str, "Sequence": list
}  # fmt: skip
FILLED_IN = {"data", "folder", "seed", "self"}  # given by the stage, though `seed` may be overridden


def check(file: Path, function: str, given: dict[str, Any], *, where: str, grid: bool = False) -> None:
    """Raise IceboxError unless `given` fits the keywords of `function` (a method as "Class.name") in `file`.

    With `grid`, a list stands for several values, each of which must fit.
    """
    arguments = definition(file, function).args
    accepted = {argument.arg: argument.annotation for argument in arguments.kwonlyargs}
    names = BUILTINS | aliases(file)
    for name, value in given.items():
        if name not in accepted:
            raise IceboxError(f"{where}.{name}: no such parameter; {plugins.suggestion(name, sorted(accepted))}")
        for element in value if grid and isinstance(value, list) else [value]:
            check_type(element, accepted[name], names, f"{where}.{name}")
        if grid and value == []:
            raise IceboxError(f"{where}.{name}: expected at least one value, found an empty list")
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if default is None and argument.arg not in given and argument.arg not in FILLED_IN:
            raise IceboxError(f"{where}.{argument.arg}: missing, and it has no default")


def accepts(file: Path, function: str, name: str) -> bool:
    """Whether `function` in `file` has the keyword `name`."""
    return name in {argument.arg for argument in definition(file, function).args.kwonlyargs}


def constant(file: Path, name: str) -> object:
    """The literal that a file gives this name at its top, found without importing it; None where there is none."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]:
            return ast.literal_eval(node.value)
    return None


def defines(file: Path, function: str) -> bool:
    """Whether `file` defines `function` at its top."""
    body = ast.parse(file.read_text(encoding="utf-8")).body
    return any(isinstance(node, ast.FunctionDef) and node.name == function for node in body)


def definition(file: Path, function: str) -> ast.FunctionDef:
    """The syntax tree of a function, or of a method as "Class.name"."""
    body: list[ast.stmt] = ast.parse(file.read_text(encoding="utf-8")).body
    *classes, last = function.split(".")
    for name in classes:
        body = next((node.body for node in body if isinstance(node, ast.ClassDef) and node.name == name), [])
    for node in body:
        if isinstance(node, ast.FunctionDef) and node.name == last:
            return node
    if last == "__init__":  # a source without parameters needs no constructor
        return ast.parse("def __init__(self): ...").body[0]  # type: ignore[return-value]
    raise IceboxError(f"{file}: expected a function '{function}', found none")


def aliases(file: Path) -> dict[str, ast.expr]:
    """The file's own names for types: `Column = int | str` at its top."""
    return {
        node.targets[0].id: node.value
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


def check_type(value: object, annotation: ast.expr | None, names: Mapping[str, Any], where: str) -> None:
    """Raise IceboxError unless `value` has the annotated type, exactly (no text for a number)."""
    if annotation is None:
        return
    expected = evaluate(annotation, names)
    try:
        TypeAdapter(expected, config=ConfigDict(strict=True)).validate_python(value)
    except ValidationError:
        raise IceboxError(f"{where}: expected {ast.unparse(annotation)}, found {value!r}") from None


def evaluate(annotation: ast.expr, names: Mapping[str, Any]) -> Any:
    """The type behind a plain annotation: builtins, Path, Literal, the file's aliases, unions and subscripts."""
    match annotation:
        case ast.Name(id=name) if name in names:
            known = names[name]
            return evaluate(known, names) if isinstance(known, ast.expr) else known
        case ast.Constant(value=None):
            return None
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return evaluate(left, names) | evaluate(right, names)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            return Literal[ast.literal_eval(choices)]
        case ast.Subscript(value=outer, slice=ast.Tuple(elts=inner)):
            return types.GenericAlias(evaluate(outer, names), tuple(evaluate(element, names) for element in inner))
        case ast.Subscript(value=outer, slice=inner):
            return types.GenericAlias(evaluate(outer, names), (evaluate(inner, names),))
        case _:
            raise IceboxError(f"expected a plain type in a plugin's signature, found {ast.unparse(annotation)}")
