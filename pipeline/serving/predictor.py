"""Predictors: what answers the items of a server, a fitted head or an export of one."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from icebox.features.abc.backbone import Backbone
from icebox.features.abc.dataset import Content, Modality
from icebox.features.errors import IceboxError, ItemError
from icebox.features.manifest.validation import DENSE_TASKS, Task
from icebox.pipeline.evaluation.conformal import SetPredictor
from icebox.pipeline.exported.folder import is_export
from icebox.pipeline.inference import bundle, item_features, predict
from icebox.pipeline.inference.bundle import Bundle
from icebox.pipeline.inference.predict import OpenHead
from icebox.pipeline.inference.reading.joined_reading import JoinedReading
from icebox.pipeline.inference.reading.new_items import Batch
from icebox.pipeline.project import head_names, paths
from icebox.pipeline.serving.nearest import TrainItems

SERVED: tuple[Modality, ...] = ("image", "text", "pair")


@dataclass(frozen=True)
class ItemAnswer:
    """An item's answer: its class number, value, or labels (k,) bool; scores (k,), and features (d,)."""

    predicted: Any
    scores: np.ndarray
    features: np.ndarray


class Predictor(ABC):
    """Answers items of one modality. `prepare` runs in several threads, `answer` in one of its own."""

    name: str
    task: Task
    classes: list[str]
    modality: Modality
    has_probabilities: bool
    clean: Sequence[str] = ()  # the steps by which texts are cleaned before `prepare`

    @abstractmethod
    def prepare(self, content: Content) -> Any:
        """An item's content as the network takes it. Raises IceboxError for content that can't be read."""

    @abstractmethod
    def answer(self, prepared: Sequence[Any]) -> list[ItemAnswer | IceboxError]:
        """The answers of b prepared items, or for one that can't be answered its error."""

    def sets(self, *, coverage: float, by_class: bool) -> SetPredictor:
        """Sets of classes that hold the true one in this share of items. Raises IceboxError where there are none."""
        raise IceboxError(f"coverage: {self.name} has no sets of classes")

    def sketch_source(self) -> dict[str, Any] | None:
        """The source of a sketch of the items' features; None where they are not the features of a store."""
        return None

    def train_items(self) -> TrainItems | None:
        """The items of train that new ones are compared with, where they are known."""
        return None


class HeadPredictor(Predictor):
    """The head STORE/HEAD of a project with the backbone that it was fitted on, or that of an export's folder."""

    def __init__(self, name: str, *, trust: bool = False) -> None:
        """Raises IceboxError for a head that is missing or whose backbone has changed, and for one that the server
        can't serve: of masks or boxes, of sequences, of several datasets."""
        if not (trust or is_export(Path(name))):
            refuse_dense(name)
        self.head: OpenHead = predict.open_head(name, trust=trust)
        self.bundle: Bundle = self.head.bundle
        if isinstance(self.head.reading, JoinedReading):
            raise IceboxError(
                f"serve {name}: its items come of {len(self.head.reading.readings)} datasets together, which no "
                f"request has; take icebox predict {name} TABLE"
            )
        if self.head.reading.modality not in SERVED:
            raise IceboxError(f"serve {name}: it takes {self.head.reading.modality}s; served are images and texts")
        backbone = self.head.backbone
        self.networks = [backbone] if isinstance(backbone, Backbone) else list(backbone)
        self.passes = ExitStack()  # open as long as the server
        for network in self.networks:
            self.passes.enter_context(network.side_by_side())
        shown = "/".join(self.head.place) if self.head.export is None else Path(name).resolve().name
        self.name, self.task, self.classes = shown, self.bundle.task, self.bundle.classes
        self.modality, self.clean = self.head.reading.modality, self.bundle.clean
        self.has_probabilities = hasattr(self.bundle.head, "predict_proba")

    def prepare(self, content: Content) -> Any:
        """The content in the form of each network and view."""
        return item_features.prepare_item(self.bundle, self.networks, [content] * len(self.networks))

    def answer(self, prepared: Sequence[Any]) -> list[ItemAnswer | IceboxError]:
        """The answers of `icebox predict`: an item whose features are no numbers has an error."""
        features = item_features.features_side_by_side(self.bundle, self.networks, prepared)
        finite = np.isfinite(features).all(axis=1)
        families = " or ".join(network.spec["family"] for network in self.networks)
        answers: list[ItemAnswer | IceboxError] = [
            ItemError(f"{families} gave a feature that is no finite number") for _ in prepared
        ]
        if finite.any():
            answered = predict.answer(self.bundle, Batch([], [], [], features[finite]))
            for row, predicted, scores in zip(np.flatnonzero(finite), answered.predicted, answered.scores, strict=True):
                answers[row] = ItemAnswer(predicted, scores, features[row])
        return answers

    def sets(self, *, coverage: float, by_class: bool) -> SetPredictor:
        """Sets calibrated on the head's predictions for val."""
        return predict.set_predictor(self.head, coverage=coverage, by_class=by_class)

    def sketch_source(self) -> dict[str, Any] | None:
        """Those that its head takes; an export gives answers only."""
        return predict.sketch_source(self.bundle) if self.head.export is None else None

    def train_items(self) -> TrainItems | None:
        """Those of its store, where it is here; an export has none."""
        return TrainItems.of(self.bundle) if self.head.export is None else None


def refuse_dense(name: str) -> None:
    """Raise IceboxError for a head of masks or boxes, by its card, before anything is loaded."""
    place = head_names.find(name, head_names.on_disk())
    task = bundle.read_card(paths.bundle(*place)).get("task")
    if task in DENSE_TASKS:
        raise IceboxError(
            f"serve {name}: a head of {task} answers with masks or boxes, which are not served; "
            f"take icebox predict {name} PICTURES --out FOLDER"
        )
