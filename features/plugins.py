"""Plugins, found by their file's name: `load("icebox.features.backbones", "glyphnet")` imports that file only.

A project has plugins of its own in `plugins/backbones`, `plugins/datasets` and `plugins/heads` of the working folder:
modules of the same packages, so `plugins/heads/mine.py` is `icebox.pipeline.heads.mine`.
"""

import importlib
from pathlib import Path
from types import ModuleType

from icebox.features.errors import IceboxError, suggestion

ROOT = Path(__file__).resolve().parent.parent  # of the package `icebox`
OWN = Path("plugins")
KINDS = ("backbones", "datasets", "heads")  # packages to which a project may add files
NOT_PLUGINS = {"__init__", "base"}


def file(package: str, name: str, where: str = "") -> Path:
    """The source file of plugin `name`, found without importing it or its package's other files.

    `where` is the place in the user's settings that named it, for the error.
    """
    existing = files(package)
    if name not in existing:
        raise IceboxError(
            f"{where}: no {noun(package)} named '{name}'; {suggestion(name, list(existing))}".lstrip(": ")
        )
    return existing[name]


def load(package: str, name: str, where: str = "") -> ModuleType:
    """Import plugin `name` of `package`. Raises IceboxError for a name that does not exist, and suggests one."""
    file(package, name, where)
    add_own(package)
    return importlib.import_module(f"{package}.{name}")


def names(package: str) -> list[str]:
    """Every plugin of the package, sorted."""
    return list(files(package))


def files(package: str) -> dict[str, Path]:
    """Name → file of every plugin of the package, in the order of their names.

    Raises IceboxError for a project's own file that bears the name of one that comes with Icebox.
    """
    by_name: dict[str, Path] = {}
    for directory in folders(package):
        for path in directory.glob("*.py"):
            if path.stem in by_name:
                raise IceboxError(
                    f"{path}: a {noun(package)} named '{path.stem}' comes with Icebox; give this file another name"
                )
            if path.stem not in NOT_PLUGINS:
                by_name[path.stem] = path
    return dict(sorted(by_name.items()))


def folders(package: str) -> list[Path]:
    """The folders in which a package's modules lie: Icebox's own, and the project's where there is one."""
    own = own_folder(package)
    return [folder(package), *([own] if own else [])]


def folder(package: str) -> Path:
    """The folder of a package's files: `icebox.features` is the folder `features`."""
    return ROOT.joinpath(*package.split(".")[1:])


def own_folder(package: str) -> Path | None:
    """The working folder's plugins of this kind, if it has any."""
    kind = package.rsplit(".", 1)[-1]
    if kind not in KINDS:
        return None
    own = (OWN / kind).resolve()
    return own if own.is_dir() else None


def add_own(package: str) -> None:
    """Make the project's own plugins importable as modules of the package."""
    module, own = importlib.import_module(package), own_folder(package)
    if own and str(own) not in module.__path__:
        module.__path__.append(str(own))


def noun(package: str) -> str:
    """The plugins' noun, for errors: 'backbone' for `icebox.features.backbones`."""
    return package.rsplit(".", 1)[-1].removesuffix("s")
