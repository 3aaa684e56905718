"""What the selected stores and heads left behind, as the report tells it: a section a dataset, a line a head.

Metrics must be there. Manifests, predictions, stores and raw data need not be (a second clone has none until
`dvc pull`): what is missing is said instead of shown.
"""

import math
from dataclasses import dataclass
from typing import Any

from features import manifest
from pipeline import certainty, compare, judged, paths, provenance
from pipeline.config import Config
from pipeline.exhibits import Exhibit, Gallery
from pipeline.judged import Judged

FLOORS = ("hashing", "pixels")  # families without a network: what a real backbone has to beat
MISTAKES = 12  # shown per head
PAIRS = 15  # commonest confusions, where a matrix would be too large
AXES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)  # where the strip of test accuracies may begin


@dataclass(frozen=True)
class Mistake:
    """A wrong prediction of test, and the item itself."""

    item_id: str
    label: str
    predicted: str
    sure: float
    exhibit: Exhibit


@dataclass(frozen=True)
class Line:
    """A row of the leaderboard and the details that it links to."""

    entry: compare.Entry
    rank: str
    floor: bool
    interval: tuple[float, float]
    judged: Judged | None
    absent: str  # why there is no `judged`,
    mend: str  # and the commands that bring it
    pairs: list[dict[str, Any]]
    mistakes: list[Mistake]

    @property
    def anchor(self) -> str:
        """Names are letters, digits, `_`, `.` and `-`, and hold no slash."""
        return f"{self.entry.store}/{self.entry.head}"

    @property
    def accuracy(self) -> float:
        """On test."""
        return self.entry.test["accuracy"]


@dataclass(frozen=True)
class Section:
    """One dataset: its leaderboard, best on val first, and its stores."""

    name: str
    rows: list[manifest.Row]
    classes: list[str]
    reference: tuple[str, float] | None  # the commonest label of test and its share
    lines: list[Line]
    stores: dict[str, provenance.Provenance]
    axis: float

    @property
    def best(self) -> Line:
        """The winner on val."""
        return self.lines[0]

    @property
    def floor(self) -> Line | None:
        """The best floor on val, unless it wins or there is none."""
        return None if self.best.floor else next((line for line in self.lines if line.floor), None)

    def of(self, store: str) -> list[Line]:
        """A store's lines, best on val first."""
        return [line for line in self.lines if line.entry.store == store]

    def at(self, value: float) -> float:
        """Where a value stands on the strip, in percent of its length; what lies before its beginning is put there."""
        return round(100 * max(0.0, value - self.axis) / (1 - self.axis), 2)


def collect(config: Config) -> list[Section]:
    """A section for each dataset of the selected stores, in the order of params.yaml.

    Raises IceboxError where metrics are missing or a file is damaged.
    """
    entries = compare.leaderboard(config)
    datasets = dict.fromkeys(entry.dataset for entry in entries)
    return [section(config, name, [entry for entry in entries if entry.dataset == name]) for name in datasets]


def section(config: Config, name: str, entries: list[compare.Entry]) -> Section:
    """All of one dataset. `entries` stand best on val first."""
    gallery = Gallery(config, name)
    ranks = certainty.ranks([entry.val.get(config.fit.choose) for entry in entries])
    lines = [line(config, entry, rank, gallery) for entry, rank in zip(entries, ranks, strict=True)]
    seen = next((each.judged for each in lines if each.judged), None)
    labels = [row.label for row in gallery.rows if row.split == "test"]
    if seen:  # a store may have skipped items of the manifest
        labels = [seen.classes[i] for i in seen.labels]
    lowest = min(each.interval[0] for each in lines)
    return Section(
        name=name,
        rows=gallery.rows,
        classes=sorted({row.label for row in gallery.rows}) or (seen.classes if seen else []),
        reference=judged.commonest(labels) if labels else None,
        lines=lines,
        stores={
            store: provenance.of(config, store)
            for store in config.select.stores
            if config.stores[store].dataset == name
        },
        axis=max(start for start in AXES if start <= lowest),
    )


def line(config: Config, entry: compare.Entry, rank: str, gallery: Gallery) -> Line:
    """One head on one store, with its predictions where they are here."""
    found, absent, mend = predictions(entry)
    return Line(
        entry=entry,
        rank=rank,
        floor=config.backbone(entry.backbone).family in FLOORS,
        interval=certainty.interval(entry.test["accuracy"], int(entry.test["n"])),
        judged=found,
        absent=absent,
        mend=mend,
        pairs=judged.pairs(found, PAIRS) if found else [],
        mistakes=mistakes(found, gallery) if found else [],
    )


def predictions(entry: compare.Entry) -> tuple[Judged | None, str, str]:
    """The head's view of test; or None, why, and the commands that mend it."""
    path = paths.predictions(entry.store, entry.head)
    if not path.exists():
        return (
            None,
            "The predictions are not on this machine; to bring them",
            f"dvc pull {path} && dvc repro -sf report",
        )
    found = judged.read(path)
    if not math.isclose(found.right.mean(), entry.test["accuracy"], abs_tol=1e-6):  # metrics keep six digits
        return None, "The predictions and the metrics are of different runs; to mend it", "dvc checkout && dvc repro"
    return found, "", ""


def mistakes(found: Judged, gallery: Gallery) -> list[Mistake]:
    """The surest wrong predictions with their items."""
    return [
        Mistake(
            item_id=found.item_ids[i],
            label=found.classes[found.labels[i]],
            predicted=found.classes[found.predicted[i]],
            sure=float(found.sure[i]),
            exhibit=gallery.show(found.item_ids[i]),
        )
        for i in found.mistakes(MISTAKES)
    ]


def compared(one: Line, other: Line) -> tuple[int, int, float] | None:
    """Items only `one` got right, items only `other` did, and the chance of that if both were equally good."""
    if not (one.judged and other.judged) or (found := judged.won_and_lost(one.judged, other.judged)) is None:
        return None
    return *found, certainty.sign_test(*found)
