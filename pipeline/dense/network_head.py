"""The base class of heads that are torch networks on whole maps, and their training."""

import copy
import io
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator

from icebox.pipeline.data.dense import Pictures, PictureView
from icebox.pipeline.dense import projection
from icebox.pipeline.dense.projection import ProjectedPictures
from icebox.pipeline.estimators import torch_settings

WARM_UP = 0.1  # of all steps


class NetworkHead(BaseEstimator):
    """A head whose `network_` is trained on projected maps, on the run's device (`features/nn/devices.py`).

    AdamW with a cosine schedule, pictures in a view drawn at random; the epoch that is best on val is kept. `n_epochs_`
    is the epoch whose weights are kept, `stopped_` whether val chose it. Letters: b pictures, h height, w width in
    cells, c components, k classes.
    """

    CLIP: ClassVar[float | None] = None  # the largest norm of a gradient

    components: int
    epochs: int
    learning_rate: float
    weight_decay: float
    batch_size: int
    patience: int
    stop_after: int | None
    random_state: int
    network_: Any
    n_epochs_: int
    stopped_: bool

    @abstractmethod
    def untrained_network(self, depth: int, classes: int) -> Any:
        """The untrained network, which takes maps (b, c, h, w) of `depth` components."""

    @abstractmethod
    def _loss(self, network: Any, train: Pictures, batch: Sequence[PictureView], maps: np.ndarray, weights: Any) -> Any:
        """The loss of a batch of pictures by their projected maps (b, h, w, c), with weights (k,) of the classes; None
        of one that holds nothing to learn from."""

    @abstractmethod
    def _score(self, network: Any, val: ProjectedPictures, weights: Any) -> float:
        """How good the network is on val: the larger, the better. The network is in eval mode, without gradients."""

    def fit_maps(self, train: Pictures, val: Pictures | None, class_weights: np.ndarray) -> Self:
        """Train on the pictures of train; `val` to stop by. `class_weights`: (k,)."""
        import torch

        from icebox.features.nn.devices import default_device

        with torch.random.fork_rng(), torch_settings.flush_denormals():
            torch.manual_seed(self.random_state)
            return self._train(train, val, class_weights, default_device())

    def _train(self, train: Pictures, val: Pictures | None, class_weights: np.ndarray, device: str) -> Self:
        import torch

        from icebox.pipeline.dense.networks import Projected

        random = np.random.default_rng(self.random_state)
        components = projection.fit(train, self.components)
        pictures = ProjectedPictures(train, components)
        to_stop_by = None
        if val is not None:
            to_stop_by = ProjectedPictures(val, components, budget_bytes=projection.CACHE_BYTES // 3)
        network = self.untrained_network(components.matrix.shape[1], len(train.data.classes)).to(device)
        optimizer = torch.optim.AdamW(network.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)
        steps = self.epochs * -(-len(train) // self.batch_size)
        # a warm-up of one step has no slope: of nine steps a tenth is one, and OneCycleLR divides by zero
        warm_up = max(WARM_UP, 2 / (steps + 1))
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.learning_rate, total_steps=steps + 1, pct_start=warm_up
        )
        weights = torch_settings.float_tensor(class_weights, device)
        best_score, self.n_epochs_, best_network = -float("inf"), 0, None
        for epoch in range(1, min(self.epochs, self.stop_after or self.epochs) + 1):
            network.train()
            for batch, maps in pictures.batches(self.batch_size, random):
                loss = self._loss(network, train, batch, maps, weights)
                if loss is not None:
                    if not torch.isfinite(loss):
                        raise ValueError("training diverged: its loss is no number; lower the learning_rate")
                    optimizer.zero_grad()
                    loss.backward()
                    if self.CLIP is not None:
                        torch.nn.utils.clip_grad_norm_(network.parameters(), self.CLIP)
                    optimizer.step()
                schedule.step()
            if to_stop_by is None:
                self.n_epochs_ = epoch
                continue
            network.eval()
            with torch.inference_mode():
                score = self._score(network, to_stop_by, weights)
            if score > best_score:
                best_score, self.n_epochs_, best_network = score, epoch, copy.deepcopy(network)
            elif epoch - self.n_epochs_ >= self.patience:
                break
        first = Projected(components.mean, components.matrix)
        self.network_ = torch.nn.Sequential(first, (best_network or network).to("cpu")).eval()
        self.stopped_ = best_network is not None
        return self

    def _forward(self, maps: np.ndarray) -> Any:
        """Outputs of the fitted network for maps (b, h, w, d) as they are stored."""
        import torch

        from icebox.features.nn.devices import default_device

        device = default_device()
        with torch.inference_mode():
            outputs = self.network_.to(device)(as_images(maps, device))
        self.network_.to("cpu")
        return outputs

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


def as_images(maps: np.ndarray, device: Any) -> Any:
    """Maps (b, h, w, d) as torch's convolutions take them: (b, d, h, w)."""
    import torch

    return torch.from_numpy(maps).to(device).permute(0, 3, 1, 2)
