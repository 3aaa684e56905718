"""A dataset of params.yaml as `features` takes one to train on."""

from features import manifest, plugins
from features.examples import Examples
from pipeline import paths
from pipeline.config import Config


def of(config: Config, name: str) -> Examples:
    """The dataset's rows as its manifest has them, and how to read them."""
    entry = config.datasets[name]
    source = plugins.load("features.datasets", entry.family).Source(**entry.parameters)
    return Examples(name=name, modality=source.modality, rows=manifest.read(paths.manifest(name)), read=source.read)
