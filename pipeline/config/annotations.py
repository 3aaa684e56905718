"""Types of a plugin's parameters: the annotations in its file's text, evaluated, checked and put into words."""

import ast
import copy
import dataclasses
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import annotated_types
from pydantic import ConfigDict, TypeAdapter, ValidationError

from icebox.features.errors import IceboxError
from icebox.features.json_files import shortened
from icebox.pipeline.config.syntax import module

NAMES: dict[str, Any] = {  # what an annotation may be made of; a path and a sequence are text and list in params.yaml
    "bool": bool, "dict": dict, "float": float, "int": int, "list": list, "str": str, "tuple": tuple,
    "Path": str, "Sequence": list, "Literal": Literal, "Annotated": Annotated,
    **{name: getattr(annotated_types, name) for name in ("Ge", "Gt", "Le", "Lt", "Interval", "MinLen", "Len")},
}  # fmt: skip
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
