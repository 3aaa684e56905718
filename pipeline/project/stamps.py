"""Stamps of code: one sha256 for a source file and all of ours that it imports.

DVC reruns a stage when a file that it depends on has changed. A stage depends on a stamp instead of on a list of source
files, so that no list has to be kept by hand: the imports are the list.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from icebox.features import fingerprint, plugins

OURS = "icebox"
STATEMENTS = ("body", "orelse", "finalbody", "handlers", "cases")  # fields of a node that hold further statements
PLUGINS = ("icebox.features.backbones", "icebox.features.datasets", "icebox.pipeline.heads")


def code_of(file: Path, *, aside: frozenset[str] = frozenset()) -> str:
    """sha256 of a source file and of all of ours that it imports, but for packages of `pipeline` set aside."""
    return fingerprint.of_settings(sorted(fingerprint.of_file(path) for path in closure(file, aside=aside)))


def closure(file: Path, *, aside: frozenset[str] = frozenset()) -> set[Path]:
    """A source file and all of ours that importing it, or calling its functions, can import or read.

    A package's data files (templates, scripts) count where one of its modules does.
    """
    files: set[Path] = set()
    file = file.resolve()  # icebox/pipeline is a link: each file must count once, under one name
    packages = [
        folder for folder in file.parents if folder.is_relative_to(root := plugins.folder(OURS)) and folder != root
    ]
    waiting = [file, *(init for package in packages if (init := package / "__init__.py").is_file())]
    while waiting:
        path = waiting.pop()
        if path not in files and not (path.parent.name in aside and path.parent.parent.name == "pipeline"):
            files |= {path, *data_files(path.parent)}
            waiting += imported(path)
    return files


@cache
def data_files(package: Path) -> list[Path]:
    """The files of a package that are no Python, in its folders that are no packages themselves."""
    folders = [folder for folder in package.iterdir() if folder.is_dir() and not (folder / "__init__.py").exists()]
    files = [path for path in package.iterdir() if path.is_file()]
    files += [
        path for folder in folders if folder.name != "__pycache__" for path in folder.rglob("*") if path.is_file()
    ]
    return [path for path in files if path.suffix not in (".py", ".pyc")]


@cache  # heads share most of what they import
def imported(path: Path) -> list[Path]:
    """The files of ours that a source file imports, at its top or inside its functions; of packages their __init__.

    Raises ModuleNotFoundError for an import of ours that no file answers: a stamp with a hole would hide a change.
    """
    files: dict[Path, None] = {}
    for node in statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                files |= dict.fromkeys(files_of(alias.name, path))
        elif isinstance(node, ast.ImportFrom):
            module = absolute(node, path)
            files |= dict.fromkeys(files_of(module, path))
            for alias in node.names:  # a module of the package, or else a name that the module defines
                if is_ours(module) and source(f"{module}.{alias.name}"):
                    files |= dict.fromkeys(files_of(f"{module}.{alias.name}", path))
    return list(files)


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """All statements in a module, at whatever depth; expressions, which are five in six nodes, hold none."""
    for name in node._fields:
        for child in getattr(node, name) if name in STATEMENTS else ():
            yield child
            yield from statements(child)


def files_of(module: str, importer: Path) -> list[Path]:
    """Files that `import module` runs: the file of each package on the way, and its own; none where it is not ours."""
    if not is_ours(module):
        return []
    parts = module.split(".")
    found_files = []
    for n in range(2, len(parts) + 1):  # `icebox` itself defines nothing
        name = ".".join(parts[:n])
        file = source(name)
        if file is None:
            raise ModuleNotFoundError(f"{importer}: imports {name}, of which there is no file")
        found_files.append(file)
    return found_files


@cache
def source(module: str) -> Path | None:
    """A module's file, or its package's __init__; None where there is neither."""
    package, _, name = module.rpartition(".")
    places = [folder / name for folder in plugins.folders(package)]
    candidates = [file for place in places for file in (place.with_suffix(".py"), place / "__init__.py")]
    return next((file for file in candidates if file.is_file()), None)


def is_ours(module: str) -> bool:
    """Whether it is a module of this project, not of a library."""
    return module.split(".")[0] == OURS


def absolute(node: ast.ImportFrom, path: Path) -> str:
    """The module of a `from … import`, also where it is written relative to the importing file."""
    if not node.level:
        return node.module or ""
    package = package_of(path).split(".")[: 1 - node.level or None]
    return ".".join([*package, *([node.module] if node.module else [])])


def package_of(path: Path) -> str:
    """The package that a source file of ours, or of a project's own plugins, is a module of."""
    for package in PLUGINS:
        if path.parent.resolve() in plugins.folders(package):
            return package
    return ".".join([OURS, *path.resolve().relative_to(plugins.folder(OURS)).parent.parts])
