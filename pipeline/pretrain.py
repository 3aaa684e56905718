"""The one loop that trains every family of our own: steps in, a folder that `load` understands out."""

import csv
import json
import math
import tempfile
from pathlib import Path

from safetensors.torch import save_file
from torch import nn
from tqdm import tqdm

from features import atomic
from features.backbones.base import SETTINGS_FILE, WEIGHTS_FILE, Pretraining, write_settings
from features.errors import IceboxError

METRICS_FILE = "metrics.json"
CURVE_FILE = "curve.csv"
DIGITS = 6  # significant, of every number written: more is noise


def pretrain(pretraining: Pretraining, folder: Path, *, family: str) -> dict[str, float]:
    """Train, score and store: weights, metrics, curve and, last, backbone.json, whose presence means complete.

    Equal pretrainings leave equal bytes on one machine. Returns the scores. Raises IceboxError when the loss is no
    longer a number; the folder then holds no backbone.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SETTINGS_FILE).unlink(missing_ok=True)  # a crash below must not leave it beside other weights
    losses = train(pretraining, family=family)
    pretraining.network.eval()
    scores = {name: rounded(score) for name, score in pretraining.evaluate().items()}
    with tempfile.TemporaryDirectory(dir=folder, prefix=atomic.TEMPORARY) as temporary:
        draft = Path(temporary)
        write_weights(draft / WEIGHTS_FILE, pretraining.network)
        (draft / METRICS_FILE).write_text(json.dumps(scores, indent=2) + "\n")
        write_curve(draft / CURVE_FILE, losses)
        write_settings(draft, {"family": family, **pretraining.settings()})
        for name in (WEIGHTS_FILE, METRICS_FILE, CURVE_FILE, SETTINGS_FILE):
            atomic.publish(draft / name, folder / name)
    return scores


def train(pretraining: Pretraining, *, family: str) -> list[float]:
    """Run all steps under a progress bar (on a terminal only) and return each one's loss."""
    losses: list[float] = []
    pretraining.network.train()
    with tqdm(range(pretraining.steps), desc=f"pretrain {family}", unit="step", disable=None) as bar:
        for index in bar:
            loss = pretraining.step(index)
            if not math.isfinite(loss):
                raise IceboxError(
                    f"pretrain {family}: expected a finite loss, found {loss} at step {index} of {pretraining.steps}; "
                    "try a smaller learning_rate"
                )
            losses.append(loss)
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
    return losses


def write_weights(path: Path, network: nn.Module) -> None:
    """Every parameter and buffer, in the plain memory layout: safetensors refuses channels-last ones."""
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)


def write_curve(path: Path, losses: list[float]) -> None:
    """One row a step: step, loss."""
    with path.open("w", newline="") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(["step", "loss"])
        rows.writerows((index, rounded(loss)) for index, loss in enumerate(losses))


def rounded(number: float) -> float:
    """To DIGITS significant digits."""
    return float(f"{number:.{DIGITS}g}")
