"""Open a dataset of params.yaml: its source, or its rows together with the source."""

from icebox.features import files, plugins
from icebox.features.abc.dataset import Dataset
from icebox.features.manifest import manifest
from icebox.features.manifest.reading import Examples
from icebox.pipeline.config.schema import Config
from icebox.pipeline.project import dvc_cache, paths


def source(config: Config, name: str) -> Dataset:
    """The dataset's plugin, opened with the parameters of its entry."""
    entry = config.datasets[name]
    files.LinkTargets.find = dvc_cache.folders
    opened: Dataset = plugins.load("icebox.features.datasets", entry.family).Source(**entry.parameters)
    return opened


def examples(config: Config, name: str) -> Examples:
    """The rows of the dataset's manifest, and how to read their contents."""
    opened = source(config, name)
    return Examples(name=name, modality=opened.modality, rows=manifest.read(paths.manifest(name)), read=opened.read)
