"""A linear head trained by batches: a whole grid of learning rates and weight decays in one pass over the data.

Letters: n items, b batch, s settings, d features, m columns: k classes, or 1 for two classes and for values.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, validate_data

from pipeline.heads.base import LinearPath, LinearValues, LogitsClassifier, class_numbers, columns, log_odds
from pipeline.penalised import Start
from pipeline.preprocess import Preprocessed

LEAST_STEPS = 300  # ten epochs over a few items would be over before they began


def build(
    *,
    learning_rate: float = 0.003,
    weight_decay: float = 1e-4,
    epochs: int = 10,
    batch_size: int = 256,
    scale: Literal["each", "overall", "l2", "none"] = "each",
    pca: int | float | None = None,
    seed: int = 0,
    task: Literal["classification", "regression"] = "classification",
) -> Preprocessed:
    """`learning_rate`: its peak, of a cosine schedule; Adam. `weight_decay`: strength of the L2 penalty against the
    mean loss. `epochs` are more than this where they would be fewer than 300 steps."""
    family = ProbeLogits if task == "classification" else ProbeValues
    probe = family(
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        epochs=epochs,
        batch_size=batch_size,
        random_state=seed,
    )
    return Preprocessed(probe, scale=scale, pca=pca)


class Probe(LinearPath):
    """It nears the optimum of logistic regression with C = 1 / (n × weight_decay), or of ridge regression."""

    TOGETHER = ("learning_rate", "weight_decay")

    def __init__(
        self,
        *,
        learning_rate: float = 0.003,
        weight_decay: float = 1e-4,
        epochs: int = 10,
        batch_size: int = 256,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.batch_size = batch_size
        self.random_state = random_state

    @abstractmethod
    def _begin(self, y: np.ndarray, weights: np.ndarray) -> Start:
        """What is to be fitted to labels or values (n,), and from where."""

    @abstractmethod
    def _loss(self, said: Any, targets: Any, weights: Any) -> Any:
        """Weighted mean loss, a torch scalar, summed over settings, of outputs (b, s, m) and targets (b, m)."""

    def fit_path(
        self, X: Any, y: Any, settings: Sequence[Mapping[str, Any]], sample_weight: Any = None
    ) -> Iterator[tuple[int, Self]]:
        """(position in `settings`, fitted head): all of them see the same batches, side by side in one matrix."""
        import torch

        X, y = validate_data(self, X, y, dtype=np.float32)
        weights = _check_sample_weight(sample_weight, X, dtype=np.float32, ensure_non_negative=True)
        begin = self._begin(y, weights)
        heads = [clone(self).set_params(**setting) for setting in settings]
        device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.set_num_threads(1)  # fits run side by side

        def tensor(values: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(device)

        random = torch.Generator(device).manual_seed(int(check_random_state(self.random_state).randint(2**31 - 1)))
        data = (tensor(X), tensor(begin.targets), tensor(weights / weights.mean()))
        n, m = begin.targets.shape
        rates, decays = (
            torch.tensor([value for head in heads for value in [head.get_params()[name]] * m], device=device)
            for name in self.TOGETHER
        )  # (s·m,) each
        # Adam's steps do not depend on the gradient's size: of points = coefficients / rates, with rate 1, they are
        # those that each setting's own rate would give, and one parameter holds all settings
        start = torch.zeros((X.shape[1] + 1, len(rates)), device=device)
        start[-1] = tensor(begin.intercepts).repeat(len(heads)) / rates
        points = start.requires_grad_()  # (d + 1, s·m), the intercepts last
        optimiser = torch.optim.Adam([points], lr=1.0, eps=1e-15, fused=True)
        steps_an_epoch = -(-n // self.batch_size)
        self.n_epochs_ = max(self.epochs, -(-LEAST_STEPS // steps_an_epoch))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.n_epochs_ * steps_an_epoch)
        for _ in range(self.n_epochs_):
            for batch in torch.randperm(n, generator=random, device=device).split(self.batch_size):
                features, wanted, counted = (part[batch] for part in data)
                weighted = points * rates
                said = torch.addmm(weighted[-1], features, weighted[:-1]).view(-1, len(heads), m)
                penalty = (weighted[:-1].square().sum(0) * decays).sum() / 2
                optimiser.zero_grad()
                (self._loss(said, wanted, counted) + penalty).backward()
                optimiser.step()
                schedule.step()
        found = (points * rates).detach().cpu().numpy().reshape(-1, len(heads), m) * np.float32(begin.unit)
        for position, head in enumerate(heads):
            head.__dict__ |= {name: v for name, v in self.__dict__.items() if name.endswith("_")}  # n_features_in_ …
            head.coef_, head.intercept_ = found[:-1, position].T.copy(), found[-1, position].copy()
            yield position, head


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
