"""The training loop of every backbone family that is pretrained here: steps in, a folder that `load` reads out."""

import json
import logging
import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from icebox.features import files
from icebox.features.abc.backbone import SETTINGS_FILE, WEIGHTS_FILE, Pretraining, write_settings
from icebox.features.errors import IceboxError
from icebox.features.nn.devices import default_device
from icebox.features.nn.transfer import plain_state
from icebox.features.seeds import step_seed
from icebox.pipeline.project import progress
from icebox.pipeline.training.checkpoint import Checkpoint
from icebox.pipeline.training.curves import Curve, rounded

logger = logging.getLogger("icebox")

METRICS_FILE = "metrics.json"
POINTS = 200  # of a curve: more than a chart has pixels for


def pretrain(
    pretraining: Pretraining,
    folder: Path,
    *,
    family: str,
    checkpoint: Checkpoint | None = None,
    curve: Curve | None = None,
) -> dict[str, float]:
    """Train, score and store: weights, metrics and, last, backbone.json, whose presence means complete.

    Equal pretrainings leave equal bytes on one machine, also where they were killed and went on from a checkpoint.
    Returns the scores. Raises IceboxError when the loss is no longer a number; the folder then holds no backbone.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SETTINGS_FILE).unlink(missing_ok=True)  # a crash below must not leave it beside other weights
    with torch.random.fork_rng():
        train(pretraining, family=family, checkpoint=checkpoint, curve=curve)
        pretraining.network.eval()
        torch.manual_seed(pretraining.seed)
        scores = {name: rounded(score) for name, score in pretraining.evaluate().items()}
    with files.temporary_in(folder) as draft:
        draft.mkdir()
        write_weights(draft / WEIGHTS_FILE, pretraining.network)
        (draft / METRICS_FILE).write_text(json.dumps(scores, indent=2) + "\n")
        for name, text in pretraining.files().items():
            (draft / name).write_text(text, encoding="utf-8")
        write_settings(draft, {"family": family, **pretraining.settings()})
        for name in (WEIGHTS_FILE, METRICS_FILE, *pretraining.files(), SETTINGS_FILE):
            files.publish(draft / name, folder / name)
    if curve:
        curve.add_summary(scores)
    if checkpoint:
        checkpoint.remove()
    return scores


def train(
    pretraining: Pretraining, *, family: str, checkpoint: Checkpoint | None = None, curve: Curve | None = None
) -> None:
    """Run the steps not yet run, under a progress bar; the curve gets means over many steps."""
    device = default_device()
    for part in pretraining.parts.values():
        if isinstance(part, nn.Module):
            part.to(device).train()
    losses = checkpoint.restore(pretraining) if checkpoint else []
    interval = math.ceil(pretraining.steps / POINTS)  # single steps are noise
    for end in range(interval, len(losses) + 1, interval):
        add_mean_loss(curve, losses[end - interval : end], end)
    if losses:
        logger.info("%s: going on from step %s of %s", family, f"{len(losses):,}", f"{pretraining.steps:,}")
    with progress.bar(total=pretraining.steps, initial=len(losses), desc=f"pretrain {family}", unit="step") as bar:
        for index in range(len(losses), pretraining.steps):
            torch.manual_seed(step_seed(pretraining.seed, index))
            loss = pretraining.step(index)
            if not math.isfinite(loss):
                raise IceboxError(
                    f"pretrain {family}: expected a finite loss, found {loss} at step {index} of {pretraining.steps}; "
                    "try a smaller learning_rate"
                )
            losses.append(loss)
            if len(losses) % interval == 0:
                add_mean_loss(curve, losses[-interval:], len(losses))
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update()
            if checkpoint:
                checkpoint.save_if_due(pretraining, losses)


def add_mean_loss(curve: Curve | None, losses: list[float], step: int) -> None:
    """Add a line to the curve, if there is one: the mean loss of the steps up to `step`."""
    if curve:
        curve.add(step, {"train/loss": sum(losses) / len(losses)})


def write_weights(path: Path, network: nn.Module) -> None:
    """Write every parameter and buffer."""
    save_file(plain_state(network), path)
