"""The base class of heads that are torch networks on whole maps."""

import io
from abc import abstractmethod
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator

from icebox.pipeline.data.dense import Pictures
from icebox.pipeline.estimators import torch_settings


class NetworkHead(BaseEstimator):
    """A head whose `network_` is trained on maps by `_train`, on the run's device (`features/nn/devices.py`).

    `n_epochs_` is the epoch whose weights are kept, `stopped_` whether val chose it.
    """

    random_state: int
    network_: Any
    n_epochs_: int
    stopped_: bool

    @abstractmethod
    def _train(self, train: Pictures, val: Pictures | None, class_weights: np.ndarray, device: str) -> Self:
        """Train under torch's generator, which is seeded; leave `network_` on the processor, in eval mode."""

    def fit_maps(self, train: Pictures, val: Pictures | None, class_weights: np.ndarray) -> Self:
        """Train on the pictures of train; `val` to stop by. `class_weights`: (k,)."""
        import torch

        from icebox.features.nn.devices import default_device

        with torch.random.fork_rng(), torch_settings.flush_denormals():
            torch.manual_seed(self.random_state)
            return self._train(train, val, class_weights, default_device())

    def refit_parameters(self) -> dict[str, Any]:
        """The epoch that was best on val."""
        return {"stop_after": self.n_epochs_} if self.stopped_ else {}

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "network_" in state:  # pickled directly, a network holds addresses: equal ones would give other files
            import torch

            stream = io.BytesIO()
            torch.save(self.network_, stream)
            state["network_"] = stream.getvalue()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "network_" in state:
            import torch

            state = state | {"network_": torch.load(io.BytesIO(state["network_"]), weights_only=False)}
        super().__setstate__(state)
