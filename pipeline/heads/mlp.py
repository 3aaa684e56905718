"""A small multi-layer perceptron in torch, behind scikit-learn's interface.

Letters: n items, b batch, d features, m outputs: one for each class, or one value.
"""

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from icebox.pipeline.data.on_disk import validate_fit_data
from icebox.pipeline.estimators import torch_settings
from icebox.pipeline.estimators.classification import LogitsClassifier, SetLogitsClassifier, class_numbers, set_columns
from icebox.pipeline.estimators.preprocessing import PreprocessedHead

STREAMS = True  # reads features from disk where they are large
SEARCH = {
    "hidden": 256,
    "learning_rate": [0.0003, 0.001, 0.003],
    "scale": ["each", "overall"],
}  # the grid of an entry without settings


def build(
    *,
    hidden: Annotated[int, Ge(1), Le(16_384)] = 256,
    layers: Annotated[int, Ge(0), Le(100)] = 1,
    epochs: Annotated[int, Ge(1), Le(100_000)] = 30,
    learning_rate: Annotated[float, Gt(0), Le(10)] = 1e-3,
    weight_decay: Annotated[float, Ge(0), Le(10**6)] = 1e-2,
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.2,
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0,
    mixup: Annotated[float, Ge(0), Le(10**6)] = 0.0,
    batch_size: Annotated[int, Ge(1), Le(10_000_000)] = 64,
    patience: Annotated[int, Ge(1), Le(100_000)] = 10,
    stop_after: Annotated[int, Ge(1), Le(100_000)] | None = None,
    scale: Literal["each", "overall", "l2", "none"] = "each",
    pca: Annotated[int, Ge(1)] | Annotated[float, Gt(0), Lt(1)] | None = None,
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0,
    task: Literal["classification", "regression", "multilabel"] = "classification",
) -> PreprocessedHead:
    """`layers`: the number of hidden layers, each `hidden` wide. `learning_rate`: the peak of a cosine schedule over
    `epochs` of batches of `batch_size` items; AdamW with `weight_decay`. `dropout`: the share of each hidden layer
    that is left out. `label_smoothing`: the share of each label that is spread over all classes. `mixup`: α of the
    Beta distribution by which two items' features and labels are mixed; 0 is none. With a val, training stops after
    `patience` epochs without a better val loss, and the best epoch's weights are kept; `stop_after` stops it at an
    epoch, the schedule unchanged."""
    family = {"classification": MLPClassifier, "regression": MLPRegressor, "multilabel": SetMLP}[task]
    network = family(
        hidden=hidden,
        layers=layers,
        epochs=epochs,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        dropout=dropout,
        label_smoothing=label_smoothing,
        mixup=mixup,
        batch_size=batch_size,
        patience=patience,
        stop_after=stop_after,
        random_state=seed,
    )
    return PreprocessedHead(network, scale=scale, pca=pca)


class MLP(BaseEstimator):
    """d → hidden → … → m with ReLU and dropout, on the run's device (`features/nn/devices.py`).

    The fitted `layers_`, [(weights (in, out), bias (out,)), …], are NumPy arrays, so a saved head opens on any machine.
    """

    def __init__(
        self,
        *,
        hidden: int = 256,
        layers: int = 1,
        epochs: int = 30,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-2,
        dropout: float = 0.2,
        label_smoothing: float = 0.0,
        mixup: float = 0.0,
        batch_size: int = 64,
        patience: int = 10,
        stop_after: int | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.hidden = hidden
        self.layers = layers
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.label_smoothing = label_smoothing
        self.mixup = mixup
        self.batch_size = batch_size
        self.patience = patience
        self.stop_after = stop_after
        self.random_state = random_state

    @abstractmethod
    def _fit_targets(self, y: Any) -> None:
        """Note the classes of labels (n,), or the mean and standard deviation of values (n,)."""

    @abstractmethod
    def _targets(self, y: Any) -> np.ndarray:
        """Labels or values (n,) as targets (n, m)."""

    @abstractmethod
    def _loss(self, smoothing: float) -> Callable[[Any, Any], Any]:
        """A torch function of outputs (b, m) and targets (b, m) that returns losses (b,)."""

    @torch_settings.flush_denormals()
    def fit(self, X: Any, y: Any, sample_weight: Any = None, val: tuple[Any, Any] | None = None) -> Self:
        """Train on features (n, d) and labels or values (n,); `val` is (features, labels) to stop by."""
        import torch

        from icebox.features.nn.devices import default_device

        X, y = validate_fit_data(self, X, y, dtype=np.float32)
        weights = _check_sample_weight(sample_weight, X, dtype=np.float32, ensure_non_negative=True)
        self._fit_targets(y)
        device = default_device()
        torch_settings.use_one_thread()
        tensor = partial(torch_settings.float_tensor, device=device)
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        # own generators: torch's global one would be shared with, and so scrambled by, the fits that run in parallel
        random, mixup_random = torch.Generator(device).manual_seed(seed), np.random.default_rng(seed)
        rows_of = torch_settings.batch_reader(X, device=device)
        targets, weights = tensor(self._targets(y)), tensor(weights / weights.mean())
        network = self._network(X.shape[1], targets.shape[1], random)
        parameters = [parameter for layer in network for parameter in layer.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=self.learning_rate, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.epochs)
        loss, val_loss = self._loss(self.label_smoothing), self._loss(0)
        validation = None if val is None else (tensor(val[0]), tensor(self._targets(val[1])))
        best_loss, self.n_epochs_, best_layers = np.inf, 0, None
        for epoch in range(1, min(self.epochs, self.stop_after or self.epochs) + 1):
            for batch in torch.randperm(len(X), generator=random, device=device).split(self.batch_size):
                x, y_true, weight = rows_of(batch), targets[batch], weights[batch]
                if self.mixup:
                    share = float(mixup_random.beta(self.mixup, self.mixup))
                    x, y_true, weight = (share * v + (1 - share) * v.roll(1, 0) for v in (x, y_true, weight))
                optimizer.zero_grad()
                (loss(self._forward(network, x, random), y_true) * weight).mean().backward()
                optimizer.step()
            schedule.step()
            if validation is None:
                self.n_epochs_ = epoch
                continue
            with torch.inference_mode():
                epoch_loss = float(val_loss(self._forward(network, validation[0]), validation[1]).mean())
            if epoch_loss < best_loss:
                best_loss, self.n_epochs_, best_layers = epoch_loss, epoch, self._arrays(network)
            elif epoch - self.n_epochs_ >= self.patience:
                break
        self.layers_ = best_layers or self._arrays(network)
        self.stopped_ = best_layers is not None
        return self

    def refit_parameters(self) -> dict[str, Any]:
        """The epoch that was best on val."""
        return {"stop_after": self.n_epochs_} if self.stopped_ else {}

    def _network(self, d: int, m: int, random: Any) -> list[Any]:
        """Linear layers d → hidden → … → m, initialized by `random`."""
        from torch import nn

        widths = [d, *[self.hidden] * self.layers, m]
        network = [nn.Linear(i, o, device=random.device) for i, o in pairwise(widths)]
        for layer in network:
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=random)
            nn.init.zeros_(layer.bias)
        return network

    def _forward(self, network: list[Any], features: Any, random: Any = None) -> Any:
        """Outputs (b, m); with dropout where `random` is given."""
        import torch

        for layer in network[:-1]:
            features = layer(features).relu()  # (b, hidden)
            if random is not None and self.dropout:
                mask = torch.rand(features.shape, generator=random, device=features.device) >= self.dropout
                features = features * mask / (1 - self.dropout)
        return network[-1](features)

    def _arrays(self, network: list[Any]) -> list[tuple[np.ndarray, np.ndarray]]:
        """[(weights (in, out), bias (out,)), …] of the layers."""
        pairs = ((layer.weight.detach().cpu().numpy(), layer.bias.detach().cpu().numpy()) for layer in network)
        return [(weight.T.copy(), bias.copy()) for weight, bias in pairs]

    def _outputs(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        # in float64: at float32 a row's rounding would depend on the other rows of the batch
        hidden = validate_data(self, X, dtype=np.float64, reset=False)
        for weight, bias in self.layers_[:-1]:
            hidden = np.maximum(hidden @ weight + bias, 0)
        weight, bias = self.layers_[-1]
        outputs: np.ndarray = hidden @ weight + bias
        return outputs


class MLPRegressor(RegressorMixin, MLP):
    """Values, by squared error in units of their standard deviation; the last layer is scaled back once fitted."""

    def _fit_targets(self, y: Any) -> None:
        self.mean_, self.std_ = float(np.mean(y)), float(np.std(y)) or 1.0

    def _targets(self, y: Any) -> np.ndarray:
        standardized: np.ndarray = ((np.asarray(y, dtype=np.float64) - self.mean_) / self.std_)[:, None]
        return standardized

    def _loss(self, smoothing: float) -> Callable[[Any, Any], Any]:
        return lambda outputs, targets: (outputs - targets).square().mean(1)

    def _arrays(self, network: list[Any]) -> list[tuple[np.ndarray, np.ndarray]]:
        *hidden, (weight, bias) = super()._arrays(network)
        return [*hidden, (weight * self.std_, bias * self.std_ + self.mean_)]

    def predict(self, X: Any) -> np.ndarray:
        """Values (n,)."""
        values: np.ndarray = self._outputs(X)[:, 0]
        return values


class MLPClassifier(LogitsClassifier, MLP):
    """Classes, by cross-entropy."""

    def _fit_targets(self, y: Any) -> None:
        self.classes_, _ = class_numbers(y)

    def _targets(self, y: Any) -> np.ndarray:
        return np.asarray(np.asarray(y)[:, None] == self.classes_, dtype=np.float32)

    def _loss(self, smoothing: float) -> Callable[[Any, Any], Any]:
        from torch.nn.functional import cross_entropy

        return lambda outputs, targets: cross_entropy(outputs, targets, label_smoothing=smoothing, reduction="none")

    def _logits(self, X: Any) -> np.ndarray:
        return self._outputs(X)


class SetMLP(SetLogitsClassifier, MLP):
    """Sets of labels, by the cross-entropy of each label against the rest; smoothing moves labels towards 0.5."""

    def _fit_targets(self, y: Any) -> None:
        self.n_labels_ = set_columns(y).shape[1]

    def _targets(self, y: Any) -> np.ndarray:
        return set_columns(y).astype(np.float32)

    def _loss(self, smoothing: float) -> Callable[[Any, Any], Any]:
        from torch.nn.functional import binary_cross_entropy_with_logits

        def loss(outputs: Any, targets: Any) -> Any:
            smoothed = targets * (1 - smoothing) + smoothing / 2
            return binary_cross_entropy_with_logits(outputs, smoothed, reduction="none").sum(1)

        return loss

    def _logits(self, X: Any) -> np.ndarray:
        return self._outputs(X)
