"""Code of the user's own project that makes a network: hashed by its text, copied, and imported from the copy.

`package.module:function` names a function in a file below the working folder. Installed libraries are no place for it:
a stranger's settings must not call whatever is installed here.
"""

import ast
import importlib
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from icebox.features import fingerprint
from icebox.features.errors import IceboxError
from icebox.features.json_files import one_line

NAME = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)", re.ASCII)
NOT_OWN = {"icebox", "features", "pipeline", *sys.stdlib_module_names}
_imported: dict[str, str] = {}  # module → hash of the code that it was imported from, of this process


def parts(name: str) -> tuple[str, str]:
    """`package.module:function` → ("package.module", "function"). Raises IceboxError for another form."""
    match = NAME.fullmatch(name)
    if not match:
        raise IceboxError(f"build: expected package.module:function, found '{name}'")
    return match[1], match[2]


def files(name: str, root: Path) -> dict[str, Path]:
    """{path below `root`: file} of the module that `name` names and of all below `root` that it imports.

    Nothing is imported. Raises IceboxError where there is no such file, or no such name at its top.
    """
    module, function = parts(name)
    file = source(module, root)
    if file is None or module.split(".")[0] in NOT_OWN:
        raise IceboxError(
            f"build: {module} is no module of this project: expected a file {module.replace('.', '/')}.py in {root}"
        )
    if function not in top_names(parsed(file)):
        raise IceboxError(f"build: {file.relative_to(root)} defines no '{function}' at its top")
    collected: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        importer = waiting.pop()
        for path in on_the_way(importer, root):
            if (key := path.relative_to(root).as_posix()) not in collected:
                collected[key] = path
                package = ".".join(path.relative_to(root).parent.parts)
                waiting += [each for each in imports(parsed(path), package) if each.split(".")[0] not in NOT_OWN]
    return dict(sorted(collected.items()))


def code_hash(name: str, root: Path) -> str:
    """sha256 of all files that `name` depends on below `root`, and their names."""
    return fingerprint.of_settings({key: fingerprint.of_file(path) for key, path in files(name, root).items()})


def copy(name: str, root: Path, target: Path) -> None:
    """Copy the files that `name` depends on from `root` to `target`."""
    for key, path in files(name, root).items():
        (target / key).parent.mkdir(parents=True, exist_ok=True)
        (target / key).write_bytes(path.read_bytes())


def function(name: str, root: Path) -> Callable[..., Any]:
    """The function itself, imported from the files below `root`; anew where other code bore their names before.

    Raises IceboxError for whatever goes wrong at the import, with its line.
    """
    module, attribute = parts(name)
    code = code_hash(name, root)
    names = [module_name(key) for key in files(name, root)]
    if any(_imported.get(each, "") != code for each in names):
        for each in names:
            sys.modules.pop(each, None)
            sys.modules.pop(each.split(".")[0], None)
            _imported[each] = code
    with importable(root):
        try:
            found: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
        except Exception as reason:  # the user's own code may raise anything
            raise IceboxError(
                f"build: {module} can't be imported: {type(reason).__name__}: {one_line(reason)}"
            ) from reason
    return found


@contextmanager
def importable(root: Path) -> Iterator[None]:
    """Within it modules below `root` can be imported, before others of their names; no bytecode is written there."""
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.path.insert(0, str(root.resolve()))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(root.resolve()))
        sys.dont_write_bytecode = written


def source(module: str, root: Path) -> Path | None:
    """A module's file below `root`, or its package's __init__; None where there is neither."""
    place = root.joinpath(*module.split("."))
    candidates = (place.with_name(f"{place.name}.py"), place / "__init__.py")
    return next((file for file in candidates if file.is_file()), None)


def on_the_way(module: str, root: Path) -> list[Path]:
    """The files that importing a module runs: its packages' __init__ and its own; none where it is not below `root`."""
    names = module.split(".")
    steps = [source(".".join(names[:n]), root) for n in range(1, len(names) + 1)]
    return [file for file in steps if file] if steps[-1] else []


def module_name(key: str) -> str:
    """`package/module.py` → `package.module`."""
    return key.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def parsed(file: Path) -> ast.Module:
    """The syntax tree of a file. Raises IceboxError for one that is no Python."""
    try:
        return ast.parse(file.read_bytes())
    except (SyntaxError, ValueError) as reason:
        raise IceboxError(f"build: {file} is no Python: {one_line(reason)}") from None


def top_names(tree: ast.Module) -> set[str]:
    """Names that a module defines, assigns or imports at its top."""
    found: set[str] = set()
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                found |= {alias.asname or alias.name for alias in aliases}
            case ast.Assign(targets=targets):
                found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Modules, and names in modules, that a module of `package` imports at its top or in its functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])]).strip(".")
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
