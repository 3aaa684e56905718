"""How a training goes, one line a step. DVCLive writes it while it runs, where `dvc plots`, `dvc exp show` and DVC's
editor extension look."""

import csv
import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

DIGITS = 6  # significant, of every number written: more is noise


class Curve:
    """A folder with a table for each number, `plots/metrics/NAME.tsv`, and the last ones, `metrics.json`.

    Equal trainings leave equal bytes: nothing in them tells the time. dvc.yaml names these files and `dvc exp run`
    saves experiments, so DVCLive does neither; and it calls nobody. A training that goes on from a checkpoint adds its
    first steps again, as DVC empties the folder before each run.
    """

    def __init__(self, folder: Path) -> None:
        from dvclive.live import Live  # brings all of DVC, which those that only read do without

        class Unbound(Live):
            """It asks git for a commit, and DVC Studio's server for its attention, neither of which it needs."""

            def _init_dvc(self) -> None:
                self._dvc_file = "dvc.yaml"

            def _init_studio(self) -> None:
                self._studio_events_to_skip = {"start", "data", "done"}

        self.live = Unbound(str(folder), save_dvc_exp=False, dvcyaml=False)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """One line. `train/loss` and the like; what is not finite is left out."""
        self.live.step = step
        for name, value in values.items():
            if math.isfinite(value):
                self.live.log_metric(name, rounded(value))
        self.live.next_step()

    def sum_up(self, values: Mapping[str, float]) -> None:
        """Numbers of the whole training, beside the last line's."""
        self.live.summary |= values

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.live.end()


def read(folder: Path) -> list[dict[str, float]]:
    """The lines, in order of their steps; none where there is no curve."""
    rows: dict[int, dict[str, float]] = defaultdict(dict)
    tables = folder / "plots/metrics"
    for path in sorted(tables.rglob("*.tsv")):
        name = path.relative_to(tables).with_suffix("").as_posix()
        with path.open(newline="") as stream:
            for row in csv.DictReader(stream, delimiter="\t"):
                rows[int(row["step"])][name] = float(row[path.stem])
    return [{"step": step, **rows[step]} for step in sorted(rows)]


def rounded(number: float) -> float:
    """To DIGITS significant digits."""
    return float(f"{number:.{DIGITS}g}")
