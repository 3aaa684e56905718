"""The folder of an export: config.json says what it is, manifest.json has the sha256 of every file.

Nothing in it is run when it is opened: its model is a graph, and its Python files are for programs without Icebox.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icebox.features import fingerprint
from icebox.features.errors import IceboxError
from icebox.features.json_files import read_json

CONFIG, MANIFEST, CARD = "config.json", "manifest.json", "README.md"
MARK = "icebox_export"  # the key of config.json by which an export is known
VERSION = 1  # of the format
FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")  # never out of the folder


@dataclass(frozen=True)
class ExportFolder:
    """An export whose files are those of its manifest."""

    path: Path
    config: dict[str, Any]

    @property
    def format(self) -> str:
        """onnx, torch or sklearn."""
        return str(self.config["format"])

    @property
    def files(self) -> list[str]:
        """The names in its manifest."""
        return list(read_json(self.path / MANIFEST, {"files": dict})["files"])

    def file(self, name: str) -> Path:
        """A file of the folder. Raises IceboxError for a name that leads out of it."""
        if not FILE_NAME.fullmatch(name) or ".." in name.split("/"):
            raise IceboxError(f"{self.path / CONFIG}: expected the name of a file in the folder, found {name[:60]!r}")
        return self.path / name


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
    if config.get(MARK) != VERSION:
        raise IceboxError(
            f"{path / CONFIG}: expected an export of format {VERSION}, found {config.get(MARK)!r}; export the head anew"
        )
    export = ExportFolder(path, config)
    hashes = read_json(path / MANIFEST, {"files": dict})["files"]
    if CONFIG not in hashes:
        raise IceboxError(f"{path / MANIFEST}: expected the sha256 of {CONFIG} among its files, found none")
    for name, expected in hashes.items():
        file = export.file(name)
        if not file.is_file() or file.is_symlink():
            raise IceboxError(f"{file}: is not there; the export is not whole: copy it anew, or export the head anew")
        if (actual := fingerprint.of_file(file)) != expected:
            raise IceboxError(
                f"{file}: expected sha256 {expected} (from {MANIFEST}), found {actual}; the export is damaged or was "
                "changed: copy it anew, or export the head anew"
            )
    return export


def write_manifest(path: Path) -> None:
    """Write the sha256 of every file that is in the folder now."""
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.name != MANIFEST)
    hashes = {file.relative_to(path).as_posix(): fingerprint.of_file(file) for file in files}
    (path / MANIFEST).write_text(json.dumps({"files": hashes}, indent=2) + "\n", encoding="utf-8")
