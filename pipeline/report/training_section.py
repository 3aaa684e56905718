"""The section on networks that were trained here, pretrained or unfrozen: their scores, learning curves and samples."""

import base64
from dataclasses import dataclass
from typing import Any

from icebox.pipeline.config.schema import Config
from icebox.pipeline.evaluation.metrics import METRICS
from icebox.pipeline.project import documents, paths
from icebox.pipeline.training import curves

SHEETS_MAX = 8


@dataclass(frozen=True)
class TrainedNetwork:
    """One network. `charts` hold the points of those curves that share an axis; `sheets` are data URLs by name."""

    name: str
    step_unit: str  # of the curves: epoch or step
    scores: dict[str, float]
    charts: dict[str, list[dict[str, float | str]]]
    sheets: dict[str, str]


def collect(config: Config) -> list[TrainedNetwork]:
    """The networks that stores use, that were unfrozen from them or that generate, as far as they are here."""
    used = {store.backbone for store in config.stores.values()} | set(config.generate)
    names = [*(name for name in config.pretrain if name in used), *config.unfreeze]
    return [
        read_network(name, "epoch" if name in config.unfreeze else "step")
        for name in names
        if paths.curve(name).exists()
    ]


def read_network(name: str, step_unit: str) -> TrainedNetwork:
    """The curves of one network, the scores of training and of generated items, and sheets of these."""
    score_files = [paths.backbone(name) / "metrics.json", paths.generated(name)]
    scores = {
        key: value
        for path in score_files
        if path.exists()
        for key, value in documents.read(path, dict[str, Any], remedy=f"run: dvc repro, or dvc checkout {path}").items()
        if isinstance(value, int | float)
    }
    sheets = sorted(paths.samples(name).glob("*.png"))[:SHEETS_MAX]
    return TrainedNetwork(
        name=name,
        step_unit=step_unit,
        scores=scores,
        charts=split_charts(curves.read(paths.curve(name))),
        sheets={path.stem: f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}" for path in sheets},
    )


def split_charts(rows: list[dict[str, float]]) -> dict[str, list[dict[str, float | str]]]:
    """The points of two charts: losses and errors, which are to fall, and scores, which are to rise, share no axis.

    Metrics that the table does not show in curves are left out.
    """
    charts: dict[str, list[dict[str, float | str]]] = {"loss": [], "score": []}
    for row in rows:
        for name, value in row.items():
            metric = METRICS.get(name.split("/")[-1])
            if name != "step" and (metric is None or "curves" in metric.shown):
                falls = name.endswith("loss") if metric is None else not metric.greater_is_better
                title = name.replace("/", " ").replace("_", " ")
                charts["loss" if falls else "score"].append({"step": row["step"], "curve": title, "value": value})
    return {kind: points for kind, points in charts.items() if points}
