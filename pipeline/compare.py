"""The leaderboard: every selected store with every selected head, from the metrics that fitting left."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tabulate import tabulate

from features.errors import IceboxError
from features.plugins import suggestion
from pipeline import paths
from pipeline.config import Config

FORMATS = ("", "", ".4f", ".4f", ".4f", ".4f", ".2f", "")  # of the columns of `row`


@dataclass(frozen=True)
class Entry:
    """One head on one store: its scores by split, what the grid chose, and the seconds the winner's fit took."""

    dataset: str
    backbone: str
    store: str
    head: str
    val: dict[str, float]
    test: dict[str, float]
    chosen: dict[str, Any]
    fit_s: float
    train_n: int
    settings: int


def leaderboard(config: Config, stores: Sequence[str] = ()) -> list[Entry]:
    """Entries by dataset in the order of params.yaml, each dataset's best on val first.

    Ranked on val, since ranking by test would choose by test. Raises IceboxError where metrics are missing.
    """
    for store in stores:
        if store not in config.select.stores:
            raise IceboxError(f"compare {store}: no such selected store; {suggestion(store, config.select.stores)}")
    entries = [read(config, store, head) for store in stores or config.select.stores for head in config.select.heads]
    order = list(config.datasets)
    measure, sign = config.fit.choose, 1 if config.fit.choose == "log_loss" else -1
    return sorted(
        entries,
        key=lambda e: (order.index(e.dataset), sign * e.val.get(measure, float("-inf") * -sign), e.store, e.head),
    )


def read(config: Config, store: str, head: str) -> Entry:
    """One entry from its metrics file."""
    path = paths.metrics(store, head)
    if not path.exists():
        raise IceboxError(f"{path}: not found; run: dvc repro fit@{store}-{head}")
    found = json.loads(path.read_text())
    catalogued = config.stores[store]
    return Entry(
        dataset=catalogued.dataset,
        backbone=catalogued.backbone,
        store=store,
        head=head,
        val=found["val"],
        test=found["test"],
        chosen=found["chosen"],
        fit_s=found["fit_s"],
        train_n=found["train_n"],
        settings=found["settings"],
    )


def terminal(entries: Sequence[Entry]) -> str:
    """The leaderboard as text, one table a dataset."""
    tables = []
    for dataset in dict.fromkeys(entry.dataset for entry in entries):
        rows = [row(entry) for entry in entries if entry.dataset == dataset]
        tables.append(f"{dataset}\n{tabulate(rows, headers='keys', floatfmt=FORMATS, missingval='–')}")
    return "\n\n".join([*tables, "best on val first; test was looked at once, by the winner of each head's grid"])


def row(entry: Entry) -> dict[str, Any]:
    """The columns of one line."""
    return {
        "backbone": entry.backbone,
        "head": entry.head,
        "val acc": entry.val["accuracy"],
        "test acc": entry.test["accuracy"],
        "macro F1": entry.test["macro_f1"],
        "log loss": entry.test.get("log_loss"),
        "fit s": entry.fit_s,
        "chosen": described(entry.chosen),
    }


def described(chosen: dict[str, Any]) -> str:
    """`C=0.1, max_iter=1000`."""
    return ", ".join(f"{name}={value}" for name, value in chosen.items())
