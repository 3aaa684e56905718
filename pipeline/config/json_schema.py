"""The JSON schema of params.yaml (draft 2020-12), by which an editor completes and checks the file.

The sections' classes and the plugins' signatures are its source, the project's own plugins included; descriptions come
from docstrings. Only keywords that draft 7 has too: editors know those. Two things a schema can't say: 5.0 is an
integer to it, and no key depends on another entry's. The loader says both.
"""

import ast
import contextlib
import functools
import json
import logging
import os
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

from pydantic import ConfigDict, TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from icebox.features import files, plugins
from icebox.features.errors import IceboxError
from icebox.features.manifest.validation import LabelTask
from icebox.pipeline.config import annotations, meanings, names, plugin_schema
from icebox.pipeline.config.fit import Fit
from icebox.pipeline.config.schema import NO_DATA, Ensemble, Generate, Input, Joined, OnError, Run, Split, Store
from icebox.pipeline.config.section import Section
from icebox.pipeline.config.unfreeze import Lora, Unfreeze
from icebox.pipeline.project import paths

Schema = dict[str, Any]
TITLE = "params.yaml of Icebox"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
SECTIONS: tuple[type[Section], ...] = (
    Split, Store, Joined, Input, Ensemble, Generate, Unfreeze, Lora, Fit, Run,
)  # fmt: skip
logger = logging.getLogger("icebox")
NAME = names.PATTERN
NAMES = {"pattern": f"^(?:{NAME})$"}
NOTHING: Schema = {"not": {}}  # the schema that no value fits


class Types(GenerateJsonSchema):
    """Pydantic's schemas, as YAML and the loader's strictness have them."""

    def dict_schema(self, schema: Any) -> Schema:
        """A key is text in JSON: where the type has numbers, they are digits."""
        made = super().dict_schema(schema)
        if schema.get("keys_schema", {}).get("type") == "int":
            made["propertyNames"] = {"pattern": "^-?[0-9]+$"}
        return made

    def tuple_schema(self, schema: Any) -> Schema:
        """A tuple can't be written in YAML, and the loader takes no list for it."""
        return dict(NOTHING)

    def field_title_should_be_set(self, schema: Any) -> bool:
        """A field's title would be its key in capitals."""
        return False


def write(folder: Path) -> bool:
    """Write the schema of the project in `folder` → whether its file changed."""
    path, text = folder / paths.SCHEMA, as_text(folder)
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    files.write_text(path, text)
    return True


def renew() -> None:
    """Write the working folder's schema anew where plugins of one's own have come, changed or gone since.

    Does nothing where there is no schema, or one that is not ours. A plugin that can't be read costs a warning only.
    """
    path = paths.SCHEMA
    if not path.is_file() or TITLE not in path.read_text(encoding="utf-8", errors="replace")[:500]:
        return
    folders = [plugins.OWN / kind for kind in plugins.KINDS if (plugins.OWN / kind).is_dir()]
    own = [*folders, *(file for folder in folders for file in folder.glob("*.py"))]
    if max((each.stat().st_mtime_ns for each in own), default=0) <= path.stat().st_mtime_ns:
        return  # to make it takes a second, and every run asks
    try:
        if not write(Path()):
            os.utime(path)
    except IceboxError as reason:
        logger.warning("%s is left as it was: %s", path, reason)


def as_text(folder: Path = Path()) -> str:
    """The schema of the project in `folder`, as JSON with a line for each definition: short, and easy to compare."""
    with contextlib.chdir(folder):  # where plugins of the project's own are looked for
        whole = schema()
    definitions = ",\n".join(map(one_line, whole.pop("$defs").items()))
    return (
        "{\n" + "".join(f"{line},\n" for line in map(one_line, whole.items())) + f'"$defs": {{\n{definitions}\n}}\n}}\n'
    )


def one_line(entry: tuple[str, object]) -> str:
    """A key and its value as JSON."""
    key, value = entry
    return f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}"


def schema() -> Schema:
    """The schema of params.yaml in the working folder."""
    definitions = dict(section_definitions())
    by_name = catalog(definitions, "heads", "icebox.pipeline.heads", "build", grid=True)
    families = {"enum": list(by_name["properties"])}
    heads = {"anyOf": [by_name, {"type": "array", "items": families, "minItems": 1, "uniqueItems": True}]}
    sections: dict[str, Schema] = {
        "datasets": catalog(definitions, "datasets", "icebox.features.datasets", "Source.__init__", "source"),
        "backbones": catalog(definitions, "backbones", "icebox.features.backbones", "fetch"),
        "pretrain": catalog(definitions, "pretrain", "icebox.features.backbones", "pretraining"),
        "generate": entries({"$ref": "#/$defs/Generate"}),
        "stores": entries({"$ref": "#/$defs/Store"}),
        "joined": entries({"$ref": "#/$defs/Joined"}),
        "inputs": entries(or_nothing("Input"), names={"pattern": f"^(?:{NAME})/(?:{NAME})$"}),
        "heads": heads,
        "ensembles": entries(or_nothing("Ensemble"), names={"pattern": f"^(?:{NAME})(/(?:{NAME}))?$"}),
        "unfreeze": entries({"$ref": "#/$defs/Unfreeze"}),
        "run": or_nothing("Run"),
        "fit": or_nothing("Fit"),
    }
    return {
        "$schema": DIALECT,
        "title": TITLE,
        "type": "object",
        "properties": sections,
        "required": ["datasets", "stores", "heads"],
        "additionalProperties": False,
        "$defs": definitions,
    }


def or_nothing(section: str) -> Schema:
    """The schema of a section all of whose keys have a default."""
    return {"anyOf": [{"$ref": f"#/$defs/{section}"}, {"type": "null"}]}


@functools.cache
def section_definitions() -> dict[str, Schema]:
    """The schemas of the sections' classes, by their names."""
    inputs = [(kind, "validation") for kind in SECTIONS]
    _, made = models_json_schema(inputs, schema_generator=Types)  # type: ignore[arg-type]
    definitions: dict[str, Schema] = made["$defs"]
    for kind in SECTIONS:
        for name, described in definitions[kind.__name__]["properties"].items():
            owners = [*kind.__mro__, *([Fit] if kind is Input else [])]  # an input's keys stand in for those of `fit`
            texts = (meanings.sentences_on(name, owner.__doc__ or "") for owner in owners if issubclass(owner, Section))
            if text := next(filter(None, texts), "") or meanings.comment_on(name, kind):
                described.setdefault("description", text)
    return definitions


def entries(entry: Schema, *, named: dict[str, Schema] | None = None, names: Schema = NAMES) -> Schema:
    """The schema of a section of entries with `names` of the user's; `named` are those whose name says more."""
    return {
        "type": ["object", "null"],
        "propertyNames": names,
        "properties": named or {},
        "additionalProperties": entry,
    }


def catalog(
    definitions: dict[str, Schema],
    name: str,
    package: str,
    function: str,
    key_of_family: str = "family",
    *,
    grid: bool = False,
) -> Schema:
    """The schema of a section of plugins' parameters; the plugins' own schemas are added to `definitions`.

    An entry's plugin is its family, or else its own name.
    """
    families = {}
    for family, file in plugins.files(package).items():
        if "." in function or plugin_schema.defines(file, function):
            parameters = plugin(file, function, section=name, grid=grid)
            parameters["properties"][key_of_family] = {"const": family}
            definitions[f"{name}.{family}"] = parameters
            families[family] = {"$ref": f"#/$defs/{name}.{quote(family)}"}
    any_family = {
        "type": "object",
        "required": [key_of_family],
        "properties": {key_of_family: {"enum": list(families)}},
        "allOf": [
            {"if": {"properties": {key_of_family: {"const": family}}, "required": [key_of_family]}, "then": definition}
            for family, definition in families.items()
        ],
    }
    definitions[name] = any_family
    reference = {"$ref": f"#/$defs/{name}"}
    of_another = {"type": "object", "required": [key_of_family]}
    named = {
        family: {"if": of_another, "then": reference, "else": definition} for family, definition in families.items()
    }
    return entries(reference, named=named)


def plugin(file: Path, function: str, *, section: str, grid: bool) -> Schema:
    """The schema of the parameters of a plugin's function, and of the keys that each entry of `section` may have."""
    arguments = plugin_schema.definition(file, function).args
    *documents, module = meanings.docstrings(file, function)
    shared = meanings.SHARED.get(section, {})
    properties: dict[str, Schema] = {}
    required = []
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        parameter = argument.arg
        if parameter in plugin_schema.STAGE_ONLY:
            continue
        accepted = of_annotation(argument.annotation, file)
        properties[parameter] = described = value_or_grid(accepted) if grid else accepted
        if (
            text := meanings.sentences_on(parameter, " ".join(documents))
            or shared.get(parameter)
            or meanings.sentences_on(parameter, module)
        ):
            described["description"] = text
        if default is None and parameter not in plugin_schema.FILLED_IN:
            required.append(parameter)
        if default is not None and (value := plugin_schema.default_value(default, file)) is not None:
            described["default"] = value
    if section == "datasets":
        properties |= dataset_keys(column=properties.get("split"))
    if section == "pretrain":
        own_data = properties.pop("data", None) is None
        properties["data"] = (
            {"const": NO_DATA} if own_data else {"type": ["string", "number"], "not": {"const": NO_DATA}}
        )
        properties["data"]["description"] = "The dataset that the backbone is trained on, or none."
        required += ["data"]
    return {
        "type": "object" if required else ["object", "null"],
        "description": module.split("\n\n")[0].replace("\n", " "),
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def dataset_keys(*, column: Schema | None) -> dict[str, Schema]:
    """`split`, `task` and `on_error` of a dataset; its split may be a column where its source takes one."""
    fractions = section_definitions()["Split"]
    of_splits = (column or {"type": "null"}) | {"description": "The column that says the split, of a table."}
    with_column = fractions | {"properties": fractions["properties"] | {"column": of_splits}}
    return {
        "split": {
            "anyOf": [with_column, {"type": "null"}, *([column] if column else [])],
            "description": "Fractions of val and test, or the column that says the split.",
        },
        "task": {
            "enum": list(get_args(LabelTask)),
            "default": "classification",
            "description": meanings.SHARED["datasets"]["task"],
        },
        "on_error": {
            "enum": list(get_args(OnError)),
            "default": "fail",
            "description": "At an item that can't be read: stop, or leave it out and list it.",
        },
    }


def of_annotation(annotation: ast.expr | None, file: Path) -> Schema:
    """The schema of a parameter's type; NOTHING for a type that params.yaml can't have."""
    if annotation is None:
        return {}
    try:
        kind = TypeAdapter(annotations.evaluate(annotation, file), config=ConfigDict(strict=True))
        made = kind.json_schema(schema_generator=Types)
    except (IceboxError, TypeError, PydanticUserError):  # no value of it gets past the loader either
        return dict(NOTHING)
    made.pop("title", None)
    return made


def value_or_grid(accepted: Schema) -> Schema:
    """The schema of a head's parameter: a value, or a list of values. A list is the latter where its elements are
    values; see plugin_schema.with_whole_lists."""
    branches = accepted["anyOf"] if set(accepted) == {"anyOf"} else [accepted]
    kinds = [branch.get("type") for branch in branches]
    single = [b for b in branches if b.get("type") != "array" or b.get("items", {}).get("type") not in kinds]
    if accepted == {}:
        single = [{"not": {"type": "array"}}]
    return {"anyOf": [*single, {"type": "array", "items": accepted, "minItems": 1}]}
