"""A small multi-layer perceptron in torch, with scikit-learn's manners.

Letters: n items, b batch, d features, k classes.
"""

from typing import Any, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.pipeline import make_pipeline
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from pipeline.scaling import scaler


def build(
    *,
    hidden: int = 256,
    epochs: int = 30,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-2,
    dropout: float = 0.2,
    batch_size: int = 64,
    scale: Literal["each", "overall"] = "each",
    seed: int = 0,
) -> ClassifierMixin:
    """`hidden`: width of the one hidden layer. `learning_rate`: its peak, of a cosine schedule. AdamW."""
    return make_pipeline(
        scaler(scale),
        MLPClassifier(
            hidden=hidden,
            epochs=epochs,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            dropout=dropout,
            batch_size=batch_size,
            random_state=seed,
        ),
    )


class MLPClassifier(ClassifierMixin, BaseEstimator):
    """d → hidden → k with ReLU and dropout, cross-entropy, AdamW. On the GPU where torch sees one.

    The fitted weights are kept as NumPy arrays, so a saved head opens on any machine.
    """

    def __init__(
        self,
        *,
        hidden: int = 256,
        epochs: int = 30,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-2,
        dropout: float = 0.2,
        batch_size: int = 64,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.hidden = hidden
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.batch_size = batch_size
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Train on features (n, d) and labels (n,)."""
        import torch
        from sklearn.utils import check_random_state
        from torch import nn

        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        self.classes_, targets = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"Classifier can't train when only one class is present: {self.classes_}")
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.set_num_threads(1)  # the fits of a grid run side by side
        # a generator of its own: torch's global one would be shared, and so scrambled, by those other fits
        random = torch.Generator(device).manual_seed(seed)
        features = torch.from_numpy(np.ascontiguousarray(X)).to(device)  # (n, d)
        labels = torch.from_numpy(targets.astype(np.int64)).to(device)  # (n,)
        first = nn.Linear(X.shape[1], self.hidden, device=device)
        last = nn.Linear(self.hidden, len(self.classes_), device=device)
        for layer in (first, last):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=random)
            nn.init.zeros_(layer.bias)
        optimiser = torch.optim.AdamW(
            [*first.parameters(), *last.parameters()], lr=self.learning_rate, weight_decay=self.weight_decay
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.epochs)
        for _ in range(self.epochs):
            for batch in torch.randperm(len(labels), generator=random, device=device).split(self.batch_size):
                hidden = first(features[batch]).relu()  # (b, hidden)
                kept = torch.rand(hidden.shape, generator=random, device=device) >= self.dropout
                loss = nn.functional.cross_entropy(last(hidden * kept / (1 - self.dropout)), labels[batch])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            schedule.step()
        self.layers_ = [
            (layer.weight.detach().cpu().numpy().T.copy(), layer.bias.detach().cpu().numpy()) for layer in (first, last)
        ]
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Logits (n, k); of two classes, their difference (n,), as scikit-learn has it."""
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, k)."""
        logits = self._logits(X)
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: np.ndarray = exponentials / exponentials.sum(axis=1, keepdims=True)
        return probabilities

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class (n,)."""
        logits = self._logits(X)
        predicted: np.ndarray = self.classes_[logits.argmax(axis=1)]
        return predicted

    def _logits(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        # in float64: at float32 a row's rounding would depend on the rows beside it
        X = validate_data(self, X, dtype=np.float64, reset=False)
        (first, first_bias), (last, last_bias) = self.layers_
        hidden = np.maximum(X @ first + first_bias, 0)  # (n, hidden)
        logits: np.ndarray = hidden @ last + last_bias
        return logits
