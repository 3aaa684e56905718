"""Open a dataset of params.yaml: its source, or its rows together with the source."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from icebox.features import files, plugins
from icebox.features.abc.dataset import Dataset
from icebox.features.buckets import local_cache
from icebox.features.errors import IceboxError
from icebox.features.manifest import manifest
from icebox.features.manifest.reading import Examples
from icebox.pipeline.config import plugin_schema
from icebox.pipeline.config.schema import Config
from icebox.pipeline.project import dvc_cache, paths


def source(config: Config, name: str) -> Dataset:
    """The dataset's plugin, opened with the parameters of its entry."""
    entry = config.datasets[name]
    return opened(entry.family, entry.parameters)


def opened(family: str, parameters: Mapping[str, Any]) -> Dataset:
    """A source with these parameters; links into this project's DVC cache are among its files."""
    files.LinkTargets.find = dvc_cache.folders
    if paths.PARAMS.exists():
        local_cache.PROJECT.mkdir(
            exist_ok=True
        )  # copies of a bucket's objects lie in the project from its first stage on
    made: Dataset = plugins.load("icebox.features.datasets", family).Source(**parameters)
    return made


def files_named_by_items(config: Config, name: str) -> dict[str, Path]:
    """{name: file} of the files that a dataset's items name, where they lie in no path among its settings.

    Known once it has a manifest.
    """
    file = plugins.file("icebox.features.datasets", config.datasets[name].family)
    if not plugin_schema.defines(file, "Source.item_folder"):
        return {}
    opened_source = source(config, name)
    folder = opened_source.item_folder()
    if folder is None:
        return {}
    try:
        rows = manifest.read(paths.manifest(name))
        return {file: folder / file for row in rows for file in opened_source.item_files(row.source)}
    except IceboxError:  # no manifest yet, or a damaged one: the stage will make it
        return {}


def examples(config: Config, name: str) -> Examples:
    """The rows of the dataset's manifest, and how to read their contents."""
    opened = source(config, name)
    return Examples(name=name, modality=opened.modality, rows=manifest.read(paths.manifest(name)), read=opened.read)
