"""Networks that were trained here, pretrained or unfrozen: scores, how they learnt, samples where there are some."""

import base64
import csv
import json
from dataclasses import dataclass
from pathlib import Path

from pipeline import paths
from pipeline.config import Config

POINTS = 200  # of a curve: more than a chart has pixels for
SAMPLES = 8


@dataclass(frozen=True)
class Trained:
    """One of them. `curve` has a mean of every column for each stretch of steps; `samples` are data URLs by name."""

    name: str
    scores: dict[str, float]
    curve: list[dict[str, float]]
    samples: dict[str, str]


def of(config: Config) -> list[Trained]:
    """Those that selected stores use, that were unfrozen from them or that generate, as far as they are here."""
    used = {config.stores[store].backbone for store in config.select.stores} | set(config.generate)
    curves = {name: paths.backbone(name) / "curve.csv" for name in config.pretrain if name in used}
    curves |= {name: paths.curve(entry.store, name) for name, entry in config.unfreeze.items()}
    return [read(name, path) for name, path in curves.items() if path.exists()]


def read(name: str, curve: Path) -> Trained:
    """One curve, the scores of training and of what it generates, and sheets of that."""
    files = [paths.backbone(name) / "metrics.json", paths.generated(name)]
    scores = {key: value for file in files if file.exists() for key, value in json.loads(file.read_text()).items()}
    with curve.open(newline="") as stream:
        rows = [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(stream)]
    sheets = sorted(paths.samples(name).glob("*.png"))[:SAMPLES]
    return Trained(
        name=name,
        scores={key: value for key, value in scores.items() if isinstance(value, int | float)},
        curve=thinned(rows),
        samples={path.stem: f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}" for path in sheets},
    )


def thinned(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    """At most POINTS rows, each the mean of a stretch, to four digits: single steps are noise."""
    stretch = -(-len(rows) // POINTS) or 1
    means = []
    for start in range(0, len(rows), stretch):
        of = rows[start : start + stretch]
        shared = [key for key in of[0] if all(key in row for row in of)]
        means.append({key: float(f"{sum(row[key] for row in of) / len(of):.4g}") for key in shared})
    return means
