"""A linear head trained by batches: a grid of learning rates, weight decays and outputs in one pass over the data.

Letters: n items, b batch, s candidates, d features, m columns: k classes, or 1 for two classes and for regressions.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from annotated_types import Ge, Gt, Le, Lt, MinLen
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight

from icebox.features.errors import IceboxError
from icebox.pipeline.catalog.class_vectors import TEMPLATES, ClassTexts
from icebox.pipeline.data.on_disk import validate_fit_data
from icebox.pipeline.estimators import batched_linear, torch_settings
from icebox.pipeline.estimators.base import Unsuitable
from icebox.pipeline.estimators.batched_linear import LinearGroup
from icebox.pipeline.estimators.classification import (
    class_numbers,
    indicator_columns,
    log_odds,
    set_columns,
    set_log_odds,
)
from icebox.pipeline.estimators.linear import (
    LinearLogitsClassifier,
    LinearPath,
    LinearRegressor,
    LinearSetClassifier,
)
from icebox.pipeline.estimators.penalized_linear import FitProblem
from icebox.pipeline.estimators.preprocessing import PreprocessedHead

STREAMS = True  # reads features from disk where they are large
SEARCH = {
    "learning_rate": [0.001, 0.003, 0.01, 0.03],
    "weight_decay": [0.0, 0.0001, 0.001, 0.01],
}  # the grid of an entry without settings
MIN_STEPS = 300  # ten epochs over a few items would be too few


def build(
    *,
    learning_rate: Annotated[float, Gt(0), Le(10)] = 0.003,
    weight_decay: Annotated[float, Ge(0), Le(10**6)] = 1e-4,
    epochs: Annotated[int, Ge(1), Le(100_000)] = 10,
    batch_size: Annotated[int, Ge(1), Le(10_000_000)] = 256,
    scale: Literal["each", "overall", "l2", "none"] = "each",
    pca: Annotated[int, Ge(1)] | Annotated[float, Gt(0), Lt(1)] | None = None,
    outputs: Annotated[list[str], MinLen(1)] | None = None,
    columns: dict[str, list[tuple[int, int]]] | None = None,
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0,
    task: Literal["classification", "regression", "multilabel"] = "classification",
    start: Literal["zero", "zero_shot"] = "zero",
    templates: Annotated[list[str], MinLen(1)] | None = None,
    names: dict[str | int, str] | None = None,
    vectors: Path | None = None,
    class_texts: ClassTexts | None = None,
) -> PreprocessedHead:
    """`learning_rate`: the peak of a cosine schedule; Adam. `weight_decay`: strength of the L2 penalty against the
    mean loss. `epochs` are raised where they would be fewer than 300 steps of `batch_size` items. `outputs`: which
    of the store's selected outputs to use, all by default; `columns`, filled in by the stage, are their columns. All
    of them are scaled before; `pca` mixes them, so that they can no longer be told apart.
    `start`: with zero_shot, coefficients begin as those of the head zero_shot, made from `templates`, `names` and
    `vectors` as there, and weight_decay keeps them near: it counts their distance from there. That is for `scale: l2`.
    """
    start_coefficients = None
    if start == "zero_shot":
        start_coefficients = class_coefficients(
            class_texts, templates, names, vectors, task=task, plain=scale == "l2" and pca is None
        )
    elif (templates, names, vectors) != (None, None, None):
        raise IceboxError("templates, names and vectors are for start: zero_shot; set that, or leave them out")
    family = {"classification": ProbeClassifier, "regression": ProbeRegressor, "multilabel": SetProbe}[task]
    probe = family(
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        epochs=epochs,
        batch_size=batch_size,
        outputs=outputs,
        columns=columns if pca is None else None,
        random_state=seed,
        **({} if start_coefficients is None else {"start_coefficients": start_coefficients}),
    )
    return PreprocessedHead(probe, scale=scale, pca=pca)


def class_coefficients(
    class_texts: ClassTexts | None,
    templates: list[str] | None,
    names: dict[str | int, str] | None,
    vectors: Path | None,
    *,
    task: str,
    plain: bool,
) -> np.ndarray:
    """The coefficients (k, d) of the head zero_shot. Raises IceboxError where no probe can begin from them."""
    if not plain:
        raise IceboxError("start: zero_shot is of items at length 1; set scale: l2, and leave pca out")
    if class_texts is None or task != "classification":
        raise IceboxError("start: zero_shot is for items of one class each; leave it out")
    found = class_texts.vectors(templates=templates or TEMPLATES, names=names, file=vectors)
    coefficients: np.ndarray = found.vectors * np.float32(found.scale)
    return coefficients


class Probe(LinearPath):
    """Approaches the optimum of logistic regression with C = 1 / (n × weight_decay), or of ridge regression."""

    PATH_PARAMETERS = ("learning_rate", "weight_decay", "outputs")

    def __init__(
        self,
        *,
        learning_rate: float = 0.003,
        weight_decay: float = 1e-4,
        epochs: int = 10,
        batch_size: int = 256,
        outputs: list[str] | None = None,
        columns: dict[str, list[tuple[int, int]]] | None = None,
        random_state: int | np.random.RandomState | None = 0,
        start_coefficients: np.ndarray | None = None,
    ) -> None:
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.batch_size = batch_size
        self.outputs = outputs
        self.columns = columns
        self.random_state = random_state
        self.start_coefficients = start_coefficients  # of all the classes that labels are the numbers of

    def _start(self, d: int) -> np.ndarray | None:
        """The coefficients (d, m) to start from; None for 0."""
        return None

    @abstractmethod
    def _problem(self, y: np.ndarray, weights: np.ndarray) -> FitProblem:
        """The targets and starting point for labels or values (n,) with weights (n,)."""

    @abstractmethod
    def _loss(self, outputs: Any, targets: Any, weights: Any) -> Any:
        """Weighted mean loss, a torch scalar, summed over candidates, of outputs (b, s, m) and targets (b, m)."""

    def fit_path(
        self, X: Any, y: Any, candidates: Sequence[Mapping[str, Any]], sample_weight: Any = None
    ) -> Iterator[tuple[int, Self]]:
        """(position in `candidates`, fitted head), all trained on the same batches.

        Raises ValueError where candidates name outputs that the features lack, once the others are fitted.
        """
        import torch

        from icebox.features.nn.devices import default_device

        X, y = validate_fit_data(self, X, y, dtype=np.float32)
        weights = _check_sample_weight(sample_weight, X, dtype=np.float32, ensure_non_negative=True)
        problem = self._problem(y, weights)
        heads = [clone(self).set_params(**candidate) for candidate in candidates]
        device = default_device()
        torch_settings.use_one_thread()
        tensor = partial(torch_settings.float_tensor, device=device)
        random = torch.Generator(device).manual_seed(int(check_random_state(self.random_state).randint(2**31 - 1)))
        rows_of = torch_settings.batch_reader(X, device=device)
        data = (tensor(problem.targets), tensor(weights / weights.mean()))
        n, m = problem.targets.shape
        members_and_columns, error = batched_linear.group_by_outputs(heads, self.columns or {}, X.shape[1])
        if error and not members_and_columns:
            raise ValueError(error)
        start = self._start(X.shape[1])
        groups = [
            LinearGroup(members, columns, tensor(problem.intercepts), None if start is None else tensor(start[columns]))
            for members, columns in members_and_columns
        ]
        # Adam's steps do not depend on the gradient's size: on points = coefficients / rates, with rate 1, they are
        # those that each candidate's own rate would give, and one parameter holds all candidates of a group
        optimizer = torch.optim.Adam([group.points for group in groups], lr=1.0, eps=1e-15, fused=True)
        steps_an_epoch = -(-n // self.batch_size)
        self.n_epochs_ = max(self.epochs, -(-MIN_STEPS // steps_an_epoch))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.n_epochs_ * steps_an_epoch)
        with torch_settings.flush_denormals():
            for _ in range(self.n_epochs_):
                for batch in torch.randperm(n, generator=random, device=device).split(self.batch_size):
                    features, (targets, batch_weights) = rows_of(batch), (each[batch] for each in data)
                    optimizer.zero_grad()
                    for group in groups:
                        outputs, penalty = group.forward(features)
                        (self._loss(outputs, targets, batch_weights) + penalty).backward()
                    optimizer.step()
                    schedule.step()
        for group in groups:
            coefficients = (group.points * group.rates).detach().cpu().numpy() * np.float32(problem.unit)
            full = np.zeros((X.shape[1], len(group.members), m), np.float32)  # 0 for columns it does not use
            full[group.columns] = coefficients[:-1].reshape(-1, len(group.members), m)
            for i, (position, head) in enumerate(group.members.items()):
                head.__dict__ |= {name: v for name, v in self.__dict__.items() if name.endswith("_")}  # classes_ …
                head.coef_, head.intercept_ = full[:, i].T.copy(), coefficients[-1].reshape(-1, m)[i].copy()
                yield position, head
        if error:
            raise ValueError(error)


class ProbeRegressor(LinearRegressor, Probe):
    """Values, by squared error in units of their standard deviation."""

    def _problem(self, y: np.ndarray, weights: np.ndarray) -> FitProblem:
        unit = float(np.std(y)) or 1.0
        mean = np.average(y, weights=weights)
        return FitProblem((y / unit)[:, None], np.array([mean / unit]), curvature=1.0, unit=unit)

    def _loss(self, outputs: Any, targets: Any, weights: Any) -> Any:
        return ((outputs - targets[:, None]).square().sum((1, 2)) * weights).mean() / 2


class ProbeClassifier(LinearLogitsClassifier, Probe):
    """Classes, by cross-entropy."""

    def _problem(self, y: np.ndarray, weights: np.ndarray) -> FitProblem:
        self.classes_, numbers = class_numbers(y)
        k = len(self.classes_)
        intercepts = log_odds(numbers, k, weights)
        if self.start_coefficients is not None:
            intercepts = np.zeros_like(intercepts)
        return FitProblem(indicator_columns(numbers, k), intercepts, curvature=(k - 1) / k**2)

    def _start(self, d: int) -> np.ndarray | None:
        if self.start_coefficients is None:
            return None
        if self.start_coefficients.shape[1] != d:
            raise Unsuitable(
                f"vectors of classes have {self.start_coefficients.shape[1]} numbers and items {d}: they are of two "
                "spaces, or items are pairs; take the `embedding` of the network that made the vectors"
            )
        of_known: np.ndarray = self.start_coefficients[self.classes_].T
        return of_known if len(self.classes_) > 2 else of_known[:, 1:] - of_known[:, :1]

    def _loss(self, outputs: Any, targets: Any, weights: Any) -> Any:
        if targets.shape[1] == 1:
            losses = (outputs.logaddexp(outputs.new_zeros(())) - outputs * targets[:, None]).squeeze(2)
        else:
            losses = outputs.logsumexp(2) - (outputs * targets[:, None]).sum(2)
        return (losses.sum(1) * weights).mean()


class SetProbe(LinearSetClassifier, Probe):
    """Sets of labels, by the cross-entropy of each label against the rest."""

    def _problem(self, y: np.ndarray, weights: np.ndarray) -> FitProblem:
        targets = set_columns(y)
        self.n_labels_ = targets.shape[1]
        return FitProblem(targets, set_log_odds(targets, weights), curvature=1 / 4)

    def _loss(self, outputs: Any, targets: Any, weights: Any) -> Any:
        losses = outputs.logaddexp(outputs.new_zeros(())) - outputs * targets[:, None]
        return (losses.sum((1, 2)) * weights).mean()
