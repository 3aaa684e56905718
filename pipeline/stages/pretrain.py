"""Stage `pretrain@BACKBONE`: train a backbone of our own into `data/backbones/BACKBONE/`."""

from features import plugins
from features.errors import IceboxError
from pipeline import paths, pretrain
from pipeline.config import Config


def run(config: Config, key: str) -> None:
    """Train with the entry's parameters and print the scores on held-out data."""
    entry = config.pretrain[key]
    family = plugins.load("features.backbones", entry.family)
    try:
        scores = pretrain.pretrain(family.pretraining(**entry.parameters), paths.backbone(key), family=entry.family)
    except IceboxError as reason:
        raise IceboxError(f"pretrain.{key}: {reason}") from reason
    print(f"{key}: {', '.join(f'{name} {score}' for name, score in scores.items())}")
