"""The reference of params.yaml and of every plugin, from the schema that is made of signatures and docstrings."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from docs.builder import docstrings
from icebox.features import plugins
from icebox.pipeline.config import json_schema, meanings, plugin_schema

Schema = dict[str, Any]
CATALOGS = {  # page → its title, what it says, and the sections of params.yaml whose entries are plugins of one kind
    "datasets": (
        "Datasets",
        "A file of `features/datasets`, or of your project's `plugins/datasets`, is one kind of data. An entry under "
        "`datasets:` names it as its `source`; where it names none, the entry's own name is the source.",
        {"datasets": ("icebox.features.datasets", "Source.__init__", "")},
    ),
    "backbones": (
        "Backbones",
        "A file of `features/backbones`, or of your project's `plugins/backbones`, is one family of networks. An entry "
        "under `backbones:` (weights from elsewhere, or none) or `pretrain:` (trained here) names it as its `family`; "
        "where it names none, the entry's own name is the family.",
        {
            "backbones": ("icebox.features.backbones", "fetch", "An entry of `backbones:`."),
            "pretrain": ("icebox.features.backbones", "pretraining", "Trained here: an entry of `pretrain:`."),
        },
    ),
    "heads": (
        "Heads",
        "A file of `pipeline/heads`, or of your project's `plugins/heads`, is one family of heads. An entry under "
        "`heads:` names it as its `family`; where it names none, the entry's own name is the family. **A list is a "
        "grid**: each of its values is tried, and the best on val is scored on test. [Heads](../heads.md) says what "
        "each is good for.",
        {"heads": ("icebox.pipeline.heads", "build", "")},
    ),
}
TYPES = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false", "null": "null"}
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
LIKE_THESE = "the like"
NAMING = {"family", "source"}  # keys that name the plugin itself
FILLED_IN = {"task", "columns"}  # keywords of heads that the stage fills in


def pages() -> dict[str, str]:
    """Page → its text: a page for each kind of plugin, and one for the sections of params.yaml."""
    schema = json_schema.schema()
    made = {page: plugin_page(page, schema) for page in CATALOGS}
    return made | {"params": sections_page(schema)}


def plugin_page(page: str, schema: Schema) -> str:
    """Every plugin of one kind, with its parameters."""
    title, text, sections = CATALOGS[page]
    first = next(iter(sections))
    shared = shared_keys(first, schema["$defs"])
    blocks = [f"# {title}", text]
    if shared:
        blocks += ["## Keys of every entry { #shared }", *Tables(schema, first).with_nested(shared)]
    names = sorted({name for package, _, _ in sections.values() for name in plugins.names(package)})
    for name in names:
        blocks += [f"## {name} {{ #{name} }}", ""]
        for section, (package, function, note) in sections.items():
            file = plugins.files(package)[name]
            if f"{section}.{name}" not in schema["$defs"]:
                continue
            entry = schema["$defs"][f"{section}.{name}"]
            keys = {key: value for key, value in entry["properties"].items() if key not in shared}
            blocks[-1] = blocks[-1] or prose(file, function, set(keys))
            if section == "heads":
                note = "For classes and for numbers." if "task" in keys else "For classes only."
                keys = {key: value for key, value in keys.items() if key not in FILLED_IN}
                if search := plugin_schema.constant(file, "SEARCH"):
                    note += f" An entry without settings is `{yaml(search)}`."
            blocks += [note, Tables(schema, section).table(keys, required=entry["required"])]
    return "\n\n".join(filter(None, blocks)) + "\n"


def shared_keys(section: str, definitions: dict[str, Schema]) -> dict[str, Schema]:
    """The keys that all plugins of a section have, with one meaning; those that name the plugin itself left out."""
    entries = [entry["properties"] for name, entry in definitions.items() if name.startswith(f"{section}.")]
    return {
        key: value
        for key, value in entries[0].items()
        if key not in NAMING and sum(key in entry for entry in entries) == len(entries)
    }


def prose(file: Path, function: str, keys: set[str]) -> str:
    """The documents of a plugin without the sentences that stand in the table of its parameters."""
    *documents, module = meanings.docstrings(file, function)
    kept = [module.partition("\n\n")[0]]
    if "." in function:  # the class: which data it takes
        kept += documents[1:]
    sentences = [
        sentence
        for document in kept
        for paragraph in document.split("\n\n")
        for sentence in meanings.sentences(paragraph)
        if not any(re.search(rf"`{key}\b", sentence) for key in keys)
    ]
    return docstrings.code(" ".join(sentences))


def sections_page(schema: Schema) -> str:
    """The sections of params.yaml with their keys; those of plugins by a link to their page."""
    pages_of = {section: page for page, (_, _, sections) in CATALOGS.items() for section in sections}
    blocks = [
        "# params.yaml",
        "Every section and key, with what stands for it where it is left out. `icebox schema` gives the same to an "
        "editor, which then completes and checks the file.",
    ]
    for section, described in schema["properties"].items():
        blocks.append(f"## {section}")
        if section in pages_of:
            blocks.append(
                "Entries with names of your own; their keys are the parameters of a plugin: "
                f"[{CATALOGS[pages_of[section]][0]}]({pages_of[section]}.md)."
            )
            continue
        blocks += Tables(schema, section).section(described)
    return "\n\n".join(filter(None, blocks)) + "\n"


class Tables:
    """Tables of keys; a key that is a mapping of its own has a table of its own below."""

    def __init__(self, schema: Schema, section: str) -> None:
        self.definitions, self.section_name = schema["$defs"], section
        self.nested: dict[str, Schema] = {}  # path of keys → its definition

    def section(self, described: Schema) -> Iterator[str]:
        """The text and tables of a section that is a mapping of known keys, or of entries of the user's."""
        entry = described.get("additionalProperties")
        path = f"{self.section_name}.NAME" if isinstance(entry, dict) else self.section_name
        value = self.resolved(entry if isinstance(entry, dict) else described)
        if "description" in described and described is not value:
            yield docstrings.code(described["description"])
        if "properties" not in value:
            yield f"{'Each entry: ' if isinstance(entry, dict) else ''}{self.kind(value, path)}."
            return
        yield from self.mapping(path, value)
        yield from self.nested_mappings()

    def with_nested(self, keys: dict[str, Schema]) -> Iterator[str]:
        """The table of keys of an entry, and those of the mappings among them."""
        yield self.table(keys, required=(), path=f"{self.section_name}.NAME")
        yield from self.nested_mappings()

    def nested_mappings(self) -> Iterator[str]:
        """The tables of the mappings that the tables before have named."""
        while self.nested:
            path = next(iter(self.nested))
            yield f"### {path} {{ #{anchor(path)} }}"
            yield from self.mapping(path, self.nested.pop(path))

    def mapping(self, path: str, value: Schema) -> Iterator[str]:
        """The text and the table of one mapping."""
        in_table = "\n".join(described.get("description", "") for described in value["properties"].values())
        first, *others = meanings.sentences(value.get("description", ""))
        yield docstrings.code(" ".join([first, *(text for text in others if text not in in_table)]))
        yield self.table(value["properties"], required=value.get("required", ()), path=path)

    def table(self, keys: dict[str, Schema], *, required: Any, path: str = "") -> str:
        """A table of keys, types, defaults and meanings; a line where there are none."""
        rows = [
            f"| `{key}` | {self.kind(value, f'{path}.{key}')} | {self.default(key, value, required)} | "
            f"{meaning(key, value)} |"
            for key, value in keys.items()
            if key not in NAMING
        ]
        return "\n".join(["| key | value | default | |", "|---|---|---|---|", *rows]) if rows else "It takes no keys."

    def default(self, key: str, value: Schema, required: Any) -> str:
        """The value of a key that is left out."""
        if key in required:
            return "*required*"
        default = value.get("default")
        return "" if default is None or default == [] or isinstance(default, dict) else f"`{yaml(default)}`"

    def resolved(self, value: Schema) -> Schema:
        """The schema behind a reference, or behind a choice between one and null."""
        if "$ref" in value:
            found: Schema = self.definitions[unquote(value["$ref"].rpartition("/")[2])]
            return found
        branches = [branch for branch in value.get("anyOf", []) if branch.get("type") != "null"]
        return self.resolved(branches[0]) if len(branches) == 1 else value

    def kind(self, value: Schema, path: str) -> str:
        """The values that may stand for a key, in words."""
        kinds = dict.fromkeys(self.kinds(value, path))
        if TYPES["number"] in kinds:
            kinds.pop(TYPES["integer"], None)
        return either(sorted(kinds, key=lambda kind: (kind == LIKE_THESE, kind.startswith("list of "))))

    def kinds(self, value: Schema, path: str) -> list[str]:
        """The alternatives that may stand for a key, each in words; null, which is its absence, left out."""
        if "$ref" in value:
            return self.kinds(self.resolved(value), path)
        if len(value.get("properties", ())) > 1:
            self.nested.setdefault(path, value)
            return [f"[mapping](#{anchor(path)})"]
        if "anyOf" in value:
            branches = value["anyOf"]
            if self.section_name == "heads" and branches[-1].get("minItems") == 1:
                branches = [branches[-1]["items"]]  # the list of values is said once, for all heads
            return [kind for branch in branches for kind in self.kinds(branch, path)]
        if "const" in value:
            return [f"`{yaml(value['const'])}`"]
        if "enum" in value:
            return [f"`{yaml(each)}`" for each in value["enum"]]
        if value == json_schema.NOTHING:
            return []
        if "examples" in value:
            return [f"`{yaml(each)}`" for each in value["examples"]] + [LIKE_THESE]
        if "pattern" in value:
            return [f"text like `{value['pattern']}`"]
        types = value.get("type", [])
        return [
            kind for each in ([types] if isinstance(types, str) else types) for kind in self.of_type(each, value, path)
        ]

    def of_type(self, name: str, value: Schema, path: str) -> list[str]:
        """One of JSON's types in words, with its bounds."""
        if name == "null":
            return []
        if name == "array":
            element = self.kind(value.get("items", {}), path)
            return [f"list of {element}" if element else "list"]
        if name == "object":
            if "properties" in value:
                inner = (f"{key}: {self.kind(each, path)}" for key, each in value["properties"].items())
                return [f"{{{', '.join(inner)}}}"]
            element = self.kind(value["additionalProperties"], path) if value.get("additionalProperties") else ""
            return [f"mapping of {element}" if element else "mapping"]
        bounds = " and ".join(f"{sign} {value[key]}" for key, sign in BOUNDS.items() if key in value)
        return [f"{TYPES[name]} {bounds}".strip()]


def meaning(key: str, value: Schema) -> str:
    """The meaning of a key, for a cell of a table."""
    text = value.get("description", "")
    if text.startswith(f"`{key}`: "):
        text = text.removeprefix(f"`{key}`: ")
        text = text[:1].upper() + text[1:]
    return docstrings.code(text).replace("|", "\\|")


def either(alternatives: list[str]) -> str:
    """Alternatives as a phrase."""
    *first, last = alternatives or [""]
    return f"{', '.join(first)} or {last}" if first else last


def anchor(path: str) -> str:
    """The anchor of a path of keys."""
    return path.replace(".", "-").lower()


def yaml(value: object) -> str:
    """A value as params.yaml has it, in one line."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {yaml(each)}' for key, each in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(yaml, value))}]"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
