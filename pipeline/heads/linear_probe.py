"""A linear head trained by batches: a grid of learning rates, weight decays and outputs in one pass over the data.

Letters: n items, s settings, d features, m columns: k classes, or 1 for two classes and for values.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, validate_data

from icebox.pipeline.estimators import batched_linear, denormals
from icebox.pipeline.estimators.base import LinearPath, LinearValues, LogitsClassifier, class_numbers, columns, log_odds
from icebox.pipeline.estimators.batched_linear import Block
from icebox.pipeline.estimators.penalized_linear import Start
from icebox.pipeline.estimators.preprocessing import Preprocessed

LEAST_STEPS = 300  # ten epochs over a few items would be over before they began


def build(
    *,
    learning_rate: float = 0.003,
    weight_decay: float = 1e-4,
    epochs: int = 10,
    batch_size: int = 256,
    scale: Literal["each", "overall", "l2", "none"] = "each",
    pca: int | float | None = None,
    outputs: list[str] | None = None,
    columns: dict[str, list[tuple[int, int]]] | None = None,
    seed: int = 0,
    task: Literal["classification", "regression"] = "classification",
) -> Preprocessed:
    """`learning_rate`: its peak, of a cosine schedule; Adam. `weight_decay`: strength of the L2 penalty against the
    mean loss. `epochs` are more than this where they would be fewer than 300 steps. `outputs`: which of those that the
    store's heads see, all by default; `columns`, filled in, say where they lie. Scaling is done before, of all of them;
    `pca` mixes them, so that they can no longer be told apart."""
    family = ProbeLogits if task == "classification" else ProbeValues
    probe = family(
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        epochs=epochs,
        batch_size=batch_size,
        outputs=outputs,
        columns=columns if pca is None else None,
        random_state=seed,
    )
    return Preprocessed(probe, scale=scale, pca=pca)


class Probe(LinearPath):
    """It nears the optimum of logistic regression with C = 1 / (n × weight_decay), or of ridge regression."""

    TOGETHER = ("learning_rate", "weight_decay", "outputs")

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
    ) -> None:
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.batch_size = batch_size
        self.outputs = outputs
        self.columns = columns
        self.random_state = random_state

    @abstractmethod
    def _begin(self, y: np.ndarray, weights: np.ndarray) -> Start:
        """What is to be fitted to labels or values (n,), and from where."""

    @abstractmethod
    def _loss(self, said: Any, targets: Any, weights: Any) -> Any:
        """Weighted mean loss, a torch scalar, summed over settings, of what is said (b, s, m) and targets (b, m)."""

    def fit_path(
        self, X: Any, y: Any, settings: Sequence[Mapping[str, Any]], sample_weight: Any = None
    ) -> Iterator[tuple[int, Self]]:
        """(position in `settings`, fitted head): all of them see the same batches.

        Raises ValueError where settings name outputs that there are not, once the others are fitted.
        """
        import torch

        X, y = validate_data(self, X, y, dtype=np.float32)
        weights = _check_sample_weight(sample_weight, X, dtype=np.float32, ensure_non_negative=True)
        begin = self._begin(y, weights)
        heads = [clone(self).set_params(**setting) for setting in settings]
        device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.set_num_threads(1)  # fits run side by side

        def tensor(values: Any) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(device)

        random = torch.Generator(device).manual_seed(int(check_random_state(self.random_state).randint(2**31 - 1)))
        data = (tensor(X), tensor(begin.targets), tensor(weights / weights.mean()))
        n, m = begin.targets.shape
        alike, unknown = batched_linear.alike(heads, self.columns or {}, X.shape[1])
        if unknown and not alike:
            raise ValueError(unknown)
        blocks = [Block(members, seen, tensor(begin.intercepts)) for members, seen in alike]
        # Adam's steps do not depend on the gradient's size: of points = coefficients / rates, with rate 1, they are
        # those that each setting's own rate would give, and one parameter holds all settings of a block
        optimiser = torch.optim.Adam([block.points for block in blocks], lr=1.0, eps=1e-15, fused=True)
        steps_an_epoch = -(-n // self.batch_size)
        self.n_epochs_ = max(self.epochs, -(-LEAST_STEPS // steps_an_epoch))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.n_epochs_ * steps_an_epoch)
        with denormals.flushed():
            for _ in range(self.n_epochs_):
                for batch in torch.randperm(n, generator=random, device=device).split(self.batch_size):
                    features, wanted, counted = (part[batch] for part in data)
                    optimiser.zero_grad()
                    for block in blocks:
                        said, penalty = block.said(features)
                        (self._loss(said, wanted, counted) + penalty).backward()
                    optimiser.step()
                    schedule.step()
        for block in blocks:
            weighted = (block.points * block.rates).detach().cpu().numpy() * np.float32(begin.unit)
            found = np.zeros((X.shape[1], len(block.members), m), np.float32)  # 0 where a setting does not look
            found[block.seen] = weighted[:-1].reshape(-1, len(block.members), m)
            for i, (position, head) in enumerate(block.members.items()):
                head.__dict__ |= {name: v for name, v in self.__dict__.items() if name.endswith("_")}  # classes_ …
                head.coef_, head.intercept_ = found[:, i].T.copy(), weighted[-1].reshape(-1, m)[i].copy()
                yield position, head
        if unknown:
            raise ValueError(unknown)


class ProbeValues(LinearValues, Probe):
    """Values, by squared error in units of their standard deviation."""

    def _begin(self, y: np.ndarray, weights: np.ndarray) -> Start:
        unit = float(np.std(y)) or 1.0
        return Start((y / unit)[:, None], np.array([np.average(y, weights=weights) / unit]), curvature=1.0, unit=unit)

    def _loss(self, said: Any, targets: Any, weights: Any) -> Any:
        return ((said - targets[:, None]).square().sum((1, 2)) * weights).mean() / 2


class ProbeLogits(LogitsClassifier, Probe):
    """Classes, by cross-entropy."""

    def _begin(self, y: np.ndarray, weights: np.ndarray) -> Start:
        self.classes_, numbers = class_numbers(y)
        k = len(self.classes_)
        return Start(columns(numbers, k), log_odds(numbers, k, weights), curvature=(k - 1) / k**2)

    def _loss(self, said: Any, targets: Any, weights: Any) -> Any:
        if targets.shape[1] == 1:
            losses = (said.logaddexp(said.new_zeros(())) - said * targets[:, None]).squeeze(2)
        else:
            losses = said.logsumexp(2) - (said * targets[:, None]).sum(2)
        return (losses.sum(1) * weights).mean()

    def _logits(self, X: Any) -> np.ndarray:
        logits = self._said(X)
        return logits if len(self.classes_) > 2 else np.hstack([np.zeros_like(logits), logits])
