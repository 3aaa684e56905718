"""One head of params.yaml: how it is built, with what the stage fills in."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from icebox.features import plugins
from icebox.features.errors import IceboxError
from icebox.features.manifest.validation import Task
from icebox.pipeline.config import plugin_schema
from icebox.pipeline.config.schema import PluginEntry
from icebox.pipeline.data.feature_selection import ColumnRanges
from icebox.pipeline.estimators import base

Setting = dict[str, Any]
Build = Callable[..., Any]


@dataclass(frozen=True)
class Maker:
    """A family's `build`, and which of `task`, `seed` and `columns` (where each output lies) the stage fills in."""

    build: Build
    task: Task = "classification"
    fills: frozenset[str] = frozenset()
    columns: ColumnRanges | None = None

    @property
    def seeded(self) -> bool:
        """Whether the head has randomness."""
        return "seed" in self.fills

    def under(self, seed: int) -> Build:
        """`build` with all of that filled in; a setting's own seed counts all the same."""
        filled = {"task": self.task, "seed": seed, "columns": self.columns}
        return partial(self.build, **{name: value for name, value in filled.items() if name in self.fills})

    def weighs(self, setting: Setting) -> bool:
        """Whether the head takes weights of items."""
        return "sample_weight" in base.fit_keywords(self.under(0)(**setting))


def maker(entry: PluginEntry, task: Task, where: str, *, columns: ColumnRanges | None = None) -> Maker:
    """The maker of a catalogued head. Raises IceboxError for a regression with a head that does none."""
    file = plugins.file("icebox.pipeline.heads", entry.family)
    fills = frozenset(name for name in ("task", "seed", "columns") if plugin_schema.accepts(file, "build", name))
    if task == "regression" and "task" not in fills:
        raise IceboxError(f"{where}: '{entry.family}' is for classes only, and the dataset's task is regression")
    return Maker(plugins.load("icebox.pipeline.heads", entry.family).build, task, fills, columns)
