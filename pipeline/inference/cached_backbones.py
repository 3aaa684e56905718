"""Backbones by name, outside of any project: weights are fetched once into a folder that all projects share.

CACHE/backbones/NAME-HASH/   what the family's `fetch` left, and origin.json, which names the family
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from icebox.features import files, fingerprint, plugins
from icebox.features.abc.backbone import SETTINGS_FILE, Backbone, read_settings
from icebox.features.buckets.path import BucketPath
from icebox.features.errors import IceboxError, located
from icebox.features.json_files import read_json
from icebox.pipeline.catalog import backbones
from icebox.pipeline.config import loader, plugin_schema
from icebox.pipeline.project import backbone_names, paths

ORIGIN_FILE = "origin.json"
LOADED_MAX = 2  # networks kept in memory: one, and during the trial of `precision: auto` a second
ROOT_DEPTH = len(paths.backbone("NAME").parts)  # folders between a backbone's and its project's root


@dataclass(frozen=True)
class StoredBackbone:
    """A folder that a family's `load` reads. `identity` changes when other weights are put there."""

    folder: Path
    family: str
    identity: str


def cache_folder(chosen: Path | str | None = None) -> Path:
    """The shared folder: `chosen`, else what ICEBOX_CACHE names, else `icebox` in the user's cache directory."""
    if chosen is not None:
        return Path(chosen).expanduser().resolve()
    if (shared := paths.shared_cache()) and not isinstance(shared, BucketPath):  # weights are folders
        return shared
    import platformdirs

    return platformdirs.user_cache_path("icebox", appauthor=False)


def find(name: str, *, weights: Path | str | None, cache: Path) -> StoredBackbone:
    """The backbone of a project's folder where `name` is one, else a named one, fetched where `cache` lacks it."""
    folder = Path(name)
    if (folder / SETTINGS_FILE).is_file():
        if weights is not None:
            raise IceboxError(f"weights: {folder} has its own; leave `weights` out, or name the network, not a folder")
        resolved = folder.resolve()
        return StoredBackbone(resolved, family_of(resolved), identity_of(resolved))
    with located(f"backbone '{name}'"):
        fetched = fetch_once(name, weights=weights, cache=cache)
    origin = read_json(fetched / ORIGIN_FILE, {"family": str})
    return StoredBackbone(fetched, origin["family"], identity_of(fetched))


def fetch_once(name: str, *, weights: Path | str | None, cache: Path) -> Path:
    """The folder of a named backbone in `cache`. Another process that fetches the same is waited for."""
    local = [Path(weights)] if weights is not None and Path(weights).exists() else []
    local += [Path(name)] if backbone_names.is_saved_network(name) else []
    known = [[str(path.resolve()), identity_of(path)] for path in local]
    origin = [name, None if weights is None else str(weights), known]
    slug = re.sub(r"[^A-Za-z0-9_.]+", "_", name.strip("/").rsplit("/", 1)[-1])
    target = cache / "backbones" / f"{slug}-{fingerprint.of_settings(origin)[:12]}"
    if target.exists():
        return target
    with files.locked(cache / "locks" / target.name, wait=True):
        if not target.exists():
            fetch(backbone_names.settings(name, weights=weights), target)
    return target


def fetch(settings: dict[str, str], target: Path) -> None:
    """Fill the folder `target`, whole or not at all, by the `fetch` of the family that `settings` names."""
    family, parameters = settings["family"], {key: value for key, value in settings.items() if key != "family"}
    file = plugins.file(backbone_names.FAMILIES, family)
    if not plugin_schema.defines(file, "fetch"):
        raise IceboxError(f"'{family}' is trained in a project; give its folder there, data/backbones/NAME")
    plugin_schema.check(file, "fetch", parameters, where=family)
    module = plugins.load(backbone_names.FAMILIES, family)
    with files.temporary_in(target.parent) as draft:
        draft.mkdir()
        module.fetch(draft, **parameters)
        files.write_text(draft / ORIGIN_FILE, json.dumps(settings, indent=2) + "\n")
        draft.replace(target)


def family_of(folder: Path) -> str:
    """The family of a backbone in a project: named in its backbone.json, else in the project's params.yaml."""
    settings = read_settings(folder)
    if "family" in settings:
        return str(settings["family"])
    params = folder.parents[ROOT_DEPTH - 1] / paths.PARAMS
    if not params.is_file():
        raise IceboxError(f"{folder}: its {SETTINGS_FILE} names no family, and there is no {params} that could")
    return loader.load(params).backbone(folder.name).family


def identity_of(path: Path) -> str:
    """A hash of names, sizes and times of a file, or of those in a folder: weights are too large to hash every time."""
    listed = sorted(path.iterdir()) if path.is_dir() else [path]
    facts = [f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in listed if file.is_file()]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def load(
    stored: StoredBackbone,
    outputs: Sequence[str] | None,
    precision: str,
    *,
    device_name: str | None = None,
    prompt: str | None = None,
) -> Backbone:
    """The backbone, frozen, in eval mode; kept in memory, so that clones of an encoder share one network."""
    return load_shared(stored, None if outputs is None else tuple(outputs), precision, device_name, prompt)


@lru_cache(maxsize=LOADED_MAX)
def load_shared(
    stored: StoredBackbone,
    outputs: tuple[str, ...] | None,
    precision: str,
    device_name: str | None,
    prompt: str | None,
) -> Backbone:
    """`load` with arguments that can be compared. Without outputs, those are taken that the network's makers mean."""
    file = plugins.file(backbone_names.FAMILIES, stored.family)
    if outputs is None and plugin_schema.defines(file, "makers_outputs"):
        outputs = plugins.load(backbone_names.FAMILIES, stored.family).makers_outputs(stored.folder) or None
    if prompt is not None and not plugin_schema.accepts(file, "load", "prompt"):
        raise IceboxError(f"prompt: backbone family '{stored.family}' has no such option; leave it out")
    return backbones.load_from(
        stored.folder,
        stored.family,
        None if outputs is None else list(outputs),
        precision=precision,
        device_name=device_name,
        **({} if prompt is None else {"prompt": prompt}),
    )
