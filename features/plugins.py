"""Plugins, found by their file's name: `load("icebox.features.backbones", "glyphnet")` imports that file only."""

import importlib
from pathlib import Path
from types import ModuleType

from icebox.features.errors import IceboxError, suggestion

NOT_PLUGINS = {"__init__", "base"}


def file(package: str, name: str, where: str = "") -> Path:
    """The source file of plugin `name`, found without importing it or its package's other files.

    `where` is the place in the user's settings that named it, for the error.
    """
    existing = names(package)
    if name not in existing:
        raise IceboxError(f"{where}: no {noun(package)} named '{name}'; {suggestion(name, existing)}".lstrip(": "))
    return folder(package) / f"{name}.py"


def load(package: str, name: str, where: str = "") -> ModuleType:
    """Import plugin `name` of `package`. Raises IceboxError for a name that does not exist, and suggests one."""
    file(package, name, where)
    return importlib.import_module(f"{package}.{name}")


def names(package: str) -> list[str]:
    """Every plugin of the package, sorted."""
    return sorted(path.stem for path in folder(package).glob("*.py") if path.stem not in NOT_PLUGINS)


def folder(package: str) -> Path:
    """The folder of a package's files: `icebox.features` is the folder `features`."""
    return Path(__file__).resolve().parent.parent / Path(*package.split(".")[1:])


def noun(package: str) -> str:
    """The plugins' noun, for errors: 'backbone' for `icebox.features.backbones`."""
    return package.rsplit(".", 1)[-1].removesuffix("s")
