"""Stage `pretrain@BACKBONE`: train a backbone of our own into `data/backbones/BACKBONE/`."""

import logging
from pathlib import Path

from icebox.features import files, fingerprint, plugins
from icebox.features.errors import located
from icebox.pipeline.catalog import datasets
from icebox.pipeline.config.schema import NO_DATA, Config, PluginEntry
from icebox.pipeline.project import paths
from icebox.pipeline.project.stamps import code_of
from icebox.pipeline.training import pretrain_loop
from icebox.pipeline.training.checkpoint import Checkpoint
from icebox.pipeline.training.curves import Curve

logger = logging.getLogger("icebox")


def run(config: Config, key: str) -> None:
    """Train with the entry's parameters and log the scores on held-out data; go on where a killed run stood."""
    entry = config.pretrain[key]
    family = plugins.load("icebox.features.backbones", entry.family)
    folder = paths.TRAININGS / identity(entry)
    with located(f"pretrain.{key}"):
        data = {} if entry.data == NO_DATA else {"data": datasets.examples(config, entry.data)}
        with files.locked(folder / "lock"):
            scores = pretrain_loop.pretrain(
                family.pretraining(**entry.parameters, **data),
                paths.backbone(key),
                family=entry.family,
                checkpoint=Checkpoint(folder / "checkpoint.pt"),
                curve=Curve(paths.curve(key)),
            )
    logger.info("%s: %s", key, ", ".join(f"{name} {score}" for name, score in scores.items()))


def identity(entry: PluginEntry) -> str:
    """A hash of all that determines a training: two trainings of one hash take the same steps."""
    import torch

    return fingerprint.of_settings(
        {
            "family": entry.family,
            "parameters": entry.parameters,
            "data": fingerprint.of_file(paths.manifest(entry.data)),
            "code": [
                code_of(plugins.file("icebox.features.backbones", entry.family)),
                code_of(Path(pretrain_loop.__file__)),
            ],
            "torch": torch.__version__,
        }
    )
