"""The factory of a head of params.yaml: its family's `build`, with the keywords that the stage fills in."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from icebox.features import plugins
from icebox.features.errors import NotApplicable
from icebox.features.joining.joined_store import Block
from icebox.features.manifest.validation import Task
from icebox.pipeline.catalog.class_vectors import ClassTexts
from icebox.pipeline.config import plugin_schema
from icebox.pipeline.config.schema import PluginEntry
from icebox.pipeline.data.feature_selection import ColumnRanges
from icebox.pipeline.estimators import base
from icebox.pipeline.estimators.base import Build, FilledIn
from icebox.pipeline.estimators.preprocessing import PreprocessedHead
from icebox.pipeline.fitting.candidates import Candidate


@dataclass(frozen=True)
class HeadFactory:
    """A family's `build`, and which of `base.FilledIn` its signature has (`keywords`)."""

    build: Build
    task: Task = "classification"
    keywords: frozenset[str] = frozenset()
    columns: ColumnRanges | None = None
    blocks: Sequence[Block] | None = None
    class_texts: ClassTexts | None = None

    @property
    def has_randomness(self) -> bool:
        """Whether the head depends on a seed."""
        return "seed" in self.keywords

    def with_seed(self, seed: int) -> Build:
        """`build` with its keywords filled in; a candidate's own seed takes precedence."""
        task: Task = "classification" if self.task == "segmentation" else self.task  # of a picture's cells
        values = FilledIn(seed=seed, task=task, columns=self.columns, class_texts=self.class_texts)
        build = partial(self.build, **{name: value for name, value in values.items() if name in self.keywords})
        return build if self.blocks is None else partial(with_blocks, build, self.blocks)

    def takes_weights(self, candidate: Candidate) -> bool:
        """Whether the head's `fit` takes `sample_weight`."""
        return "sample_weight" in base.fit_keywords(self.with_seed(0)(**candidate))


def streams(entry: PluginEntry) -> bool:
    """Whether a catalogued head reads features from disk where they are large; not before its principal components."""
    return entry.family in plugin_schema.streaming_heads() and not entry.parameters.get("pca")


def with_blocks(build: Build, blocks: Sequence[Block], **parameters: Any) -> Any:
    """A head that scales each of these blocks of columns by itself; one without our preprocessing is as it is."""
    head = build(**parameters)
    return head.set_params(blocks=list(blocks)) if isinstance(head, PreprocessedHead) else head


def create(
    entry: PluginEntry,
    task: Task,
    where: str,
    *,
    columns: ColumnRanges | None = None,
    blocks: Sequence[Block] | None = None,
    class_texts: ClassTexts | None = None,
) -> HeadFactory:
    """The factory of a catalogued head; `blocks` of columns are scaled apart. Raises NotApplicable for a task that the
    head is not for."""
    file = plugins.file("icebox.pipeline.heads", entry.family)
    keywords = frozenset(name for name in FilledIn.__annotations__ if plugin_schema.accepts(file, "build", name))
    if task not in (tasks := plugin_schema.head_tasks(entry.family)):
        if task == "multilabel":
            raise NotApplicable(f"{where}: {plugin_schema.no_sets(entry.family)}")
        kind = "classes" if "classification" in tasks else " and ".join(tasks)
        raise NotApplicable(f"{where}: '{entry.family}' is for {kind} only, and the dataset's task is {task}")
    build = plugins.load("icebox.pipeline.heads", entry.family).build
    return HeadFactory(build, task, keywords, columns, blocks, class_texts)
