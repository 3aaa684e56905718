"""The folder of an export: config.json says what it is, manifest.json has the sha256 of every file.

Nothing in it is run when it is opened: its model is a graph, and its Python files are for programs without Icebox.
"""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from icebox.features import fingerprint
from icebox.features.errors import IceboxError
from icebox.features.json_files import read_json
from icebox.pipeline.exported import config as config_form

CONFIG, MANIFEST, CARD = "config.json", "manifest.json", "README.md"
MARK = "icebox_export"  # the key of config.json by which an export is known
VERSION = 1  # of the format
FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")  # never out of the folder


@dataclass(frozen=True)
class ExportFolder:
    """An export whose files are those of its manifest."""

    path: Path
    config: dict[str, Any]
    hashed: frozenset[str] | None = None  # the files whose hashes are right; None while it is being written

    @property
    def format(self) -> str:
        """onnx, torch or sklearn."""
        return str(self.config["format"])

    @property
    def files(self) -> list[str]:
        """The names in its manifest."""
        return list(read_json(self.path / MANIFEST, {"files": dict})["files"])

    def file(self, name: str) -> Path:
        """A file or folder of the export. Raises IceboxError for a name that leads out of it, and for one that its
        manifest does not list, or that holds files which it does not list."""
        if not FILE_NAME.fullmatch(name) or ".." in name.split("/"):
            raise IceboxError(f"{self.path / CONFIG}: expected the name of a file in the folder, found {name[:60]!r}")
        path = self.path / name
        if self.hashed is not None:
            within = [path] if not path.is_dir() else [each for each in path.rglob("*") if not each.is_dir()]
            for each in within:
                if each.relative_to(self.path).as_posix() not in self.hashed:
                    raise IceboxError(
                        f"{each}: is not among the files of {MANIFEST}, so that nothing tells whether it is the "
                        "export's; take it away, or export the head anew"
                    )
        return path


def is_export(path: Path) -> bool:
    """Whether a folder is an export, whole or not."""
    try:
        return MARK in json.loads((path / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, RecursionError):
        return False


def opened(path: Path) -> ExportFolder:
    """The export at `path`, once each file has the hash of the manifest.

    Raises IceboxError for a folder that is none, is of another version, or has a file that is missing or changed.
    """
    config = read_json(path / CONFIG, dict)
    if type(config.get(MARK)) is not int or config[MARK] != VERSION:
        raise IceboxError(
            f"{path / CONFIG}: expected an export of format {VERSION}, found {config.get(MARK)!r}; export the head anew"
        )
    export = ExportFolder(path, config)
    hashes = read_json(path / MANIFEST, {"files": dict})["files"]
    if CONFIG not in hashes:
        raise IceboxError(f"{path / MANIFEST}: expected the sha256 of {CONFIG} among its files, found none")
    for name, expected in hashes.items():
        file = export.file(name)
        refuse_link(path, name)
        if not file.is_file():
            raise IceboxError(f"{file}: is not there; the export is not whole: copy it anew, or export the head anew")
        if (actual := fingerprint.of_file(file)) != expected:
            raise IceboxError(
                f"{file}: expected sha256 {expected} (from {MANIFEST}), found {actual}; the export is damaged or was "
                "changed: copy it anew, or export the head anew"
            )
    config_form.check(path / CONFIG, config)
    return replace(export, hashed=frozenset(hashes))


def refuse_link(path: Path, name: str) -> None:
    """Raise IceboxError where a file is a link, or lies in a folder that is one, which could lead anywhere."""
    place = path
    for part in name.split("/"):
        place /= part
        if place.is_symlink():
            raise IceboxError(
                f"{place}: expected the export's own file, found a link; copy it with what its links lead to (cp -rL), "
                "or export the head anew"
            )


def files_of_others(path: Path) -> list[str]:
    """Files in an export's folder that are not of the export, as far as its manifest can be read; bytecode aside."""
    try:
        own = {MANIFEST, *read_json(path / MANIFEST, {"files": dict})["files"]}
    except IceboxError:
        own = {MANIFEST, CONFIG}
    inside = (each.relative_to(path) for each in path.rglob("*") if each.is_symlink() or not each.is_dir())
    return sorted(each.as_posix() for each in inside if each.as_posix() not in own and "__pycache__" not in each.parts)


def write_manifest(path: Path) -> None:
    """Write the sha256 of every file that is in the folder now."""
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.name != MANIFEST)
    hashes = {file.relative_to(path).as_posix(): fingerprint.of_file(file) for file in files}
    (path / MANIFEST).write_text(json.dumps({"files": hashes}, indent=2) + "\n", encoding="utf-8")
