"""The file's name is the key: `load("icebox.features.backbones", "glyphnet")` imports that file, and only that file."""

import difflib
import importlib
from pathlib import Path
from types import ModuleType

from icebox.features.errors import IceboxError

NOT_PLUGINS = {"__init__", "base"}


def file(package: str, name: str, where: str = "") -> Path:
    """The source file of plugin `name`, found without importing it or its package's other files.

    `where` is the place in the user's settings that named it, for the error.
    """
    found = names(package)
    if name not in found:
        raise IceboxError(f"{where}: no {noun(package)} named '{name}'; {suggestion(name, found)}".lstrip(": "))
    return folder(package) / f"{name}.py"


def load(package: str, name: str, where: str = "") -> ModuleType:
    """Import plugin `name` of `package`; a wrong name lists what exists."""
    file(package, name, where)
    return importlib.import_module(f"{package}.{name}")


def names(package: str) -> list[str]:
    """Every plugin of the package, sorted."""
    return sorted(path.stem for path in folder(package).glob("*.py") if path.stem not in NOT_PLUGINS)


def folder(package: str) -> Path:
    """Where the files of a package of ours lie: `icebox.features` is the folder `features`."""
    return Path(__file__).resolve().parent.parent / Path(*package.split(".")[1:])


def noun(package: str) -> str:
    """`icebox.features.backbones` holds families of 'backbone'."""
    return package.rsplit(".", 1)[-1].removesuffix("s")


def suggestion(name: str, known: list[str]) -> str:
    """ "did you mean 'x'?" where something is near, else the whole list."""
    folded = {k.lower(): k for k in reversed(known)}
    near = [folded[f] for f in difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.5)]
    near = near or [k for k in known if name and name in k][:1]
    return f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(known) or 'none'}"
