"""A dataset of params.yaml as `features` takes one to train on."""

from icebox.features import plugins
from icebox.features.manifest import manifest
from icebox.features.manifest.examples import Examples
from icebox.pipeline.config.schema import Config
from icebox.pipeline.project import paths


def of(config: Config, name: str) -> Examples:
    """The dataset's rows as its manifest has them, and how to read them."""
    entry = config.datasets[name]
    source = plugins.load("icebox.features.datasets", entry.family).Source(**entry.parameters)
    return Examples(name=name, modality=source.modality, rows=manifest.read(paths.manifest(name)), read=source.read)
