"""Networks that were trained here, pretrained or unfrozen: scores, how they learnt, samples where there are some."""

import base64
import json
from dataclasses import dataclass

from icebox.pipeline.config.schema import Config
from icebox.pipeline.evaluation.metrics import METRICS
from icebox.pipeline.project import paths
from icebox.pipeline.training import curves

SAMPLES = 8


@dataclass(frozen=True)
class Trained:
    """One of them. `charts` are lines of its curve that share an axis; `samples` are data URLs by name."""

    name: str
    unit: str  # of the curve's steps
    scores: dict[str, float]
    charts: dict[str, list[dict[str, float | str]]]
    samples: dict[str, str]


def of(config: Config) -> list[Trained]:
    """Those that selected stores use, that were unfrozen from them or that generate, as far as they are here."""
    used = {config.stores[store].backbone for store in config.select.stores} | set(config.generate)
    names = [*(name for name in config.pretrain if name in used), *config.unfreeze]
    return [read(name, "epoch" if name in config.unfreeze else "step") for name in names if paths.curve(name).exists()]


def read(name: str, unit: str) -> Trained:
    """One curve, the scores of training and of what it generates, and sheets of that."""
    files = [paths.backbone(name) / "metrics.json", paths.generated(name)]
    scores = {key: value for file in files if file.exists() for key, value in json.loads(file.read_text()).items()}
    sheets = sorted(paths.samples(name).glob("*.png"))[:SAMPLES]
    return Trained(
        name=name,
        unit=unit,
        scores={key: value for key, value in scores.items() if isinstance(value, int | float)},
        charts=apart(curves.read(paths.curve(name))),
        samples={path.stem: f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}" for path in sheets},
    )


def apart(rows: list[dict[str, float]]) -> dict[str, list[dict[str, float | str]]]:
    """The points of two charts: losses and errors, which are to fall, and scores, which are to rise, share no axis.

    Metrics that the table does not show in curves are left out.
    """
    charts: dict[str, list[dict[str, float | str]]] = {"loss": [], "score": []}
    for row in rows:
        for name, value in row.items():
            metric = METRICS.get(name.split("/")[-1])
            if name != "step" and (metric is None or "curves" in metric.shown):
                falls = name.endswith("loss") if metric is None else not metric.greater_is_better
                kind = "loss" if falls else "score"
                said = name.replace("/", " ").replace("_", " ")
                charts[kind].append({"step": row["step"], "of": said, "value": value})
    return {kind: points for kind, points in charts.items() if points}
