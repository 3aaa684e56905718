"""The base class of params.yaml's sections, and parsing with errors that say where in the file they are."""

from collections.abc import Sequence
from typing import Annotated, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from icebox.features.errors import IceboxError, suggestion
from icebox.features.json_files import shortened


class Section(BaseModel):
    """A part of params.yaml: unknown keys and wrong types are errors, and so are numbers that are not finite."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


S = TypeVar("S", bound=Section)


def parse_section(kind: type[S], value: object, where: str) -> S:
    """A section of type `kind` from its raw value. Raises IceboxError with the place in params.yaml."""
    try:
        return kind.model_validate({} if value is None else value)
    except ValidationError as errors:
        first = nearest(errors.errors())
        # pydantic's place of a union's error holds the name of the branch too ("constrained-int"), which is no key
        place = ".".join([where, *(str(part) for part in first["loc"] if str(part).isidentifier())])
        if first["type"] == "extra_forbidden":
            known = list(kind_at(kind, first["loc"][:-1]).model_fields)
            raise IceboxError(f"{place}: no such key; {suggestion(str(first['loc'][-1]), known)}") from None
        if first["type"] == "missing":
            raise IceboxError(f"{place}: missing") from None
        raise IceboxError(
            f"{place}: {first['msg'].removeprefix('Value error, ')}, found {shortened(first['input'])}"
        ) from None


def nearest(errors: Sequence[ErrorDetails]) -> ErrorDetails:
    """The first error; where each branch of a union has its own, that of the branch whose form the value has.

    It is the deepest, and speaks of a bound rather than of a type or a choice.
    """
    field = errors[0]["loc"][:1]
    of_field = [error for error in errors if error["loc"][:1] == field]
    return max(of_field, key=lambda error: (len(error["loc"]), not error["type"].endswith(("_type", "literal_error"))))


def kind_at(kind: type[Section], place: Sequence[int | str]) -> type[Section]:
    """The section class at a place inside another: keys of nested sections, outermost first."""
    for name in place:
        if (field := kind.model_fields.get(str(name))) is None:  # the name of a union's branch
            continue
        for inner in (field.annotation, *branches(field.annotation)):
            kind = inner if isinstance(inner, type) and issubclass(inner, Section) else kind
    return kind


def branches(annotation: object) -> list[object]:
    """The types of a union, bare."""
    return [get_args(part)[0] if get_origin(part) is Annotated else part for part in get_args(annotation)]
