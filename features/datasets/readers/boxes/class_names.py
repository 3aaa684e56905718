"""Names of classes in the files that YOLO's tools keep beside a dataset: data.yaml, classes.txt, obj.names."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from icebox.features.datasets.readers.contained_text import read_lines, read_text
from icebox.features.errors import IceboxError
from icebox.features.json_files import one_line, shortened

USUAL = ("data.yaml", "dataset.yaml", "classes.txt", "obj.names")
CHARACTERS_MAX = 1 << 18


def names_in(folder: Path) -> list[str]:
    """The names in the usual file of a folder. Raises IceboxError where there is none."""
    for name in USUAL:
        if (folder / name).is_file():
            return read_names(folder / name)
    raise IceboxError(
        f"datasets: {folder}: expected the names of YOLO's classes in {', '.join(USUAL)}, found none of these; set "
        "`classes` or `class_file`"
    )


def read_names(path: Path) -> list[str]:
    """The names in a file: a line each, or `names` of YAML, a list or {number: name}."""
    if path.suffix.lower() not in (".yaml", ".yml"):
        return read_lines(path.parent, path.name)
    text = read_text(path.parent, path.name)
    if len(text) > CHARACTERS_MAX:
        raise IceboxError(f"datasets: {path}: expected at most {CHARACTERS_MAX:,} characters, found {len(text):,}")
    try:
        document: Any = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as reason:
        raise IceboxError(f"datasets: {path}: expected YAML, found {one_line(reason)}") from reason
    names = document.get("names") if isinstance(document, dict) else None
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str | int) for name in names):
        raise IceboxError(f"datasets: {path}: expected `names`, a list or {{0: name, …}}, found {shortened(names)}")
    return [str(name) for name in names]
