"""Learning curves: written step by step while a network trains, read by the report, `dvc plots` and `dvc exp show`.

The layout is DVCLive's: a table for each number, `plots/metrics/NAME.tsv`, and the latest values in `metrics.json`.
"""

import csv
import json
import math
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from icebox.features import files
from icebox.features.errors import IceboxError
from icebox.features.json_files import one_line
from icebox.pipeline.evaluation.metrics import METRICS

DIGITS = 6  # significant, of every number written: more is noise
TABLES = Path("plots/metrics")
LATEST = Path("metrics.json")
NEAR = 0.05  # of the best score


class Curve:
    """The writer of one curve's folder, which it empties first.

    Equal trainings leave equal bytes: no file holds a time. A training that goes on from a checkpoint adds its first
    steps again, since DVC empties the folder before each run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.latest: dict[str, Any] = {}
        shutil.rmtree(folder / TABLES, ignore_errors=True)
        (folder / LATEST).unlink(missing_ok=True)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add one line to each table: values by name (`train/loss`), the infinite and NaN ones left out."""
        for name, value in values.items():
            if math.isfinite(value):
                self._append(name, step, rounded(value))
        self.latest["step"] = step
        self._write_latest()

    def add_summary(self, values: Mapping[str, float]) -> None:
        """Put numbers about the whole training beside the latest values."""
        self.latest |= values
        self._write_latest()

    def _append(self, name: str, step: int, value: float) -> None:
        *groups, last = name.split("/")
        table = self.folder / TABLES / f"{name}.tsv"
        if not table.exists():
            table.parent.mkdir(parents=True, exist_ok=True)
            table.write_text(f"step\t{last}\n", encoding="utf-8")
        with table.open("a", encoding="utf-8") as stream:
            stream.write(f"{step}\t{value}\n")
        level = self.latest
        for group in groups:
            level = level.setdefault(group, {})
        level[last] = value

    def _write_latest(self) -> None:
        files.write_text(self.folder / LATEST, json.dumps(self.latest, indent=4) + "\n")


def read(folder: Path) -> list[dict[str, float]]:
    """The curve's lines, {"step": …, name: value}, in order of their steps; none where there is no curve.

    Raises IceboxError for a damaged table.
    """
    lines: dict[int, dict[str, float]] = defaultdict(dict)
    for path in sorted((folder / TABLES).rglob("*.tsv")):
        name = path.relative_to(folder / TABLES).with_suffix("").as_posix()
        try:
            with path.open(newline="", encoding="utf-8") as stream:
                for row in csv.DictReader(stream, delimiter="\t", strict=True):
                    lines[int(row["step"])][name] = float(row[path.stem])
        except (OSError, KeyError, TypeError, ValueError, csv.Error) as reason:
            raise IceboxError(
                f"{path}: damaged ({one_line(repr(reason))}); run: dvc repro, or dvc checkout {folder}"
            ) from reason
    return [{"step": step, **lines[step]} for step in sorted(lines)]


def summarize(curve: Sequence[Mapping[str, float]], measure: str) -> dict[str, float]:
    """A training in a few numbers: how soon it was nearly as good as it got, and how far val fell behind train.

    `curve` has a line an epoch, epoch 0 being before the first step. Returns `epochs`, `best_epoch` by val's `measure`,
    `near_best_epoch` (the first within 5% of the best score), and `val_minus_train`: val's loss (log loss, or mean
    square error) less train's at the best epoch, unless that is 0. Train's is the mean over the epoch, with
    augmentation and smoothing where there are any.
    """
    smaller = not METRICS[measure].greater_is_better
    scores = [line[measure] for line in curve]
    best = min(scores) if smaller else max(scores)
    best_epoch = scores.index(best)
    near = [score <= best * (1 + NEAR) if smaller else score >= best * (1 - NEAR) for score in scores]
    summary: dict[str, float] = {
        "epochs": len(curve) - 1,
        "best_epoch": best_epoch,
        "near_best_epoch": near.index(True),
    }
    line = curve[best_epoch]
    if best_epoch > 0 and ("rmse" in line or "log_loss" in line):  # of masks val has no loss
        val_loss = line["rmse"] ** 2 if "rmse" in line else line["log_loss"]
        summary["val_minus_train"] = round(val_loss - line["loss"], 6)
    return summary


def rounded(number: float) -> float:
    """To DIGITS significant digits."""
    return float(f"{number:.{DIGITS}g}")
