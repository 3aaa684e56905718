"""A project's fitted head as a scikit-learn estimator over raw items: images or texts in, classes or numbers out.

Letters: n items, k classes.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.metaestimators import available_if

from icebox.features.errors import IceboxError
from icebox.pipeline.evaluation.predictions import Predictions
from icebox.pipeline.exported.folder import is_export
from icebox.pipeline.inference import item_features, predict
from icebox.pipeline.inference.bundle import Bundle
from icebox.pipeline.inference.predict import OpenHead
from icebox.pipeline.inference.reading.joined_reading import JoinedReading
from icebox.pipeline.inference.reading.new_items import NewItem
from icebox.pipeline.inference.reading.raw_items import RawItems, RawItemsEstimator


class FittedHead(RawItemsEstimator):
    """A head of a project and the backbone that it was fitted on. It stays as it is: `fit` learns nothing.

    A pickle holds the head's name and the project's folder; the rest is opened again when it is first needed.
    """

    def __init__(self, head: str, *, project: Path | str = ".", trust: bool = False) -> None:
        self.head = head
        self.project = project
        self.trust = trust

    def fit(self, X: Any, y: Any = None) -> Self:
        """Nothing: the head is fitted, and new items do not change it."""
        return self

    @property
    def bundle_(self) -> Bundle:
        """The bundle: the head, its classes, and where its features come from."""
        return self._open().bundle

    def _open(self) -> OpenHead:
        """The head, opened once. Raises IceboxError where either is missing or has changed."""
        if "_opened" not in self.__dict__:
            with contextlib.chdir(self.project):  # where the project's own plugins are found, and all its paths begin
                self._opened = predict.open_head(self.head, trust=self.trust)
        return self._opened

    def read(self, *inputs: Path | str, labelled: bool = False) -> list[NewItem]:
        """The items of files, folders or tables, as the command `predict` reads them: by the dataset's own settings.

        They can be given to `predict`; each has an `item_id` and, if `labelled`, a `label`.
        """
        return list(self._open().reading.items([str(each) for each in inputs], labelled=labelled))

    def _answers(self, X: Any) -> Iterator[Predictions]:
        """The head's answers, a batch at a time. Raises IceboxError for an item that can't be read."""
        head = self._open()
        if isinstance(head.reading, JoinedReading):
            head.reading.require_read(X)
        items = RawItems(X, head.reading.modality, clean=head.bundle.clean).new_items()
        batches = item_features.batches(head.bundle, head.backbone, items, refuse)
        return (predict.answer(head.bundle, batch) for batch in batches)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_clone__(self) -> Self:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_opened"}


class FittedRegressor(RegressorMixin, FittedHead):
    """A fitted head that predicts numbers."""

    def predict(self, X: Any) -> np.ndarray:
        """Values (n,)."""
        return np.concatenate([each.predicted for each in self._answers(X)])


class FittedClassifier(ClassifierMixin, FittedHead):
    """A fitted head that predicts classes."""

    @property
    def classes_(self) -> np.ndarray:
        """The classes' names (k,), in the order of the columns of `predict_proba`."""
        return np.array(self.bundle_.classes)

    def predict(self, X: Any) -> np.ndarray:
        """Names of classes (n,)."""
        numbers = np.concatenate([each.predicted for each in self._answers(X)])
        names: np.ndarray = self.classes_[numbers]
        return names

    @available_if(lambda self: hasattr(self.bundle_.head, "predict_proba"))  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, k). Only of a head that has them."""
        return np.concatenate([each.scores for each in self._answers(X)])


class FittedSets(FittedClassifier):
    """A fitted head that predicts sets of labels."""

    def predict(self, X: Any) -> np.ndarray:
        """Which labels each item has (n, k), 0 or 1."""
        return np.concatenate([each.predicted for each in self._answers(X)]).astype(np.int8)


def refuse(item: NewItem, error: IceboxError) -> None:
    """Raise the error of an item that can't be read, with the item's name."""
    raise error if item.place in str(error) else error.at(item.place)


def load(head: str, *, project: Path | str = ".", trust: bool = False) -> FittedClassifier | FittedRegressor:
    """The head STORE/HEAD of a project, or that in the folder of an export, ready to predict raw items.

    `project` is the project's folder; while its files are opened it is the working folder. `trust` opens a bundle whose
    sha256 is not the one on its card. Raises IceboxError for a head that is missing, or whose backbone has changed.
    """
    folder = Path(project).expanduser().resolve()
    if is_export(Path(head).expanduser()):
        head = str(Path(head).expanduser().resolve())
    classifier = FittedClassifier(head, project=folder, trust=trust)
    if classifier.bundle_.task == "classification":
        return classifier
    if classifier.bundle_.task == "multilabel":
        sets = FittedSets(head, project=folder, trust=trust)
        sets._open()
        return sets
    regressor = FittedRegressor(head, project=folder, trust=trust)
    regressor._open()
    return regressor
