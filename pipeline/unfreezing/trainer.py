"""Train a backbone and its head end to end, from the head that was fitted on cached features.

The epochs with a frozen network are saved: the head is the linear probe of LP-FT (Kumar et al. 2022, arXiv
2202.10054), and training starts from it. The state before the first step is a candidate like the one after each epoch;
the best on val is kept. All randomness depends on seed and epoch alone, so that a killed run that continues ends at the
same weights.
"""

import copy
import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning_fabric
import numpy as np
import torch
from torch import Tensor

from icebox.features.errors import IceboxError
from icebox.features.nn import freezing
from icebox.features.nn.devices import default_device
from icebox.features.nn.layer_outputs import Inputs
from icebox.features.seeds import step_seed
from icebox.pipeline.config.unfreeze import UnfreezeOptions
from icebox.pipeline.evaluation import formatting, metrics
from icebox.pipeline.project import progress
from icebox.pipeline.training.checkpoint import CheckpointFiles, unchanged_on_failure
from icebox.pipeline.unfreezing import losses, optimizer
from icebox.pipeline.unfreezing.end_to_end import EndToEndModel
from icebox.pipeline.unfreezing.freezing_schedule import FreezingSchedule
from icebox.pipeline.unfreezing.inputs import Items
from icebox.pipeline.unfreezing.weight_averaging import MovingAverage

logger = logging.getLogger("icebox")

PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}

ScoreFunction = Callable[[np.ndarray], dict[str, float]]  # scores (n, k) of val's items → metrics by name
AugmentFunction = Callable[..., Inputs]  # (inputs, generator=)
EpochCallback = Callable[[dict[str, float]], None]  # gets the curve's line of an epoch


@dataclass
class Progress:
    """State of a run besides weights: epochs done, the curve, the best epoch and its score on val, seconds."""

    epochs: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best: float = -math.inf
    seconds: float = 0.0


class FineTuner:
    """One training run.

    `targets` (n,) are train's class numbers, or floats to regress, or (n, k) of 0 and 1 sets of labels; `weights` (n,)
    how much each item counts. After each epoch `score` computes val's metrics, `metric` of which chooses the best
    epoch; `on_epoch` gets the curve's line.
    """

    def __init__(
        self,
        model: EndToEndModel,
        schedule: FreezingSchedule,
        options: UnfreezeOptions,
        *,
        train: Items,
        targets: np.ndarray,
        val: Items,
        score: ScoreFunction,
        metric: str = "accuracy",
        weights: np.ndarray | None = None,
        augment: AugmentFunction | None = None,
        on_epoch: EpochCallback | None = None,
    ) -> None:
        self.model, self.schedule, self.options = model, schedule, options
        self.train, self.val, self.score, self.metric = train, val, score, metric
        self.augment, self.on_epoch = augment, on_epoch or (lambda line: None)
        device = torch.device(default_device())
        self.fabric = lightning_fabric.Fabric(
            accelerator=device.type,
            devices=1 if device.index is None else [device.index],
            precision=PRECISIONS[options.precision],  # type: ignore[arg-type]
        )
        self.targets = torch.as_tensor(targets)
        if self.targets.is_floating_point():
            self.targets = self.targets.float()  # the type of the scores; mps has no float64
        self.weights = torch.ones(len(self.targets)) if weights is None else torch.as_tensor(weights).float()
        self.micro_batch_size = options.batch_size
        self.progress = Progress()

    def run(self, folder: Path) -> Progress:
        """Train for the epochs that are not in `folder`'s checkpoint yet; leaves the best weights in the model."""
        options, fabric = self.options, self.fabric
        groups = optimizer.groups(
            self.model.network,
            self.model.head,
            self.schedule.blocks,
            learning_rate=options.learning_rate,
            head_learning_rate=options.head_learning_rate or 10 * options.learning_rate,
            layer_decay=options.layer_decay,
            weight_decay=options.weight_decay,
        )
        self.wrapped_model, self.optimizer = fabric.setup(self.model, torch.optim.AdamW(groups))
        self.best_state = copy.deepcopy(self.model.state_dict())
        self.average = MovingAverage(self.model, options.average) if options.average else None
        checkpoint = CheckpointFiles(folder / "checkpoint.pt")
        if checkpoint.restore(self.load_checkpoint):
            for line in self.progress.curve:
                self.on_epoch(line)
            logger.info("going on from epoch %d", self.progress.epochs)
        else:
            self.evaluate(loss=math.nan)
        steps = options.epochs * math.ceil(len(self.train) / options.batch_size)
        logger.info("unfreeze: %d epochs of %d steps", options.epochs, steps // options.epochs)
        with progress.bar(
            total=steps, initial=self.progress.epochs * steps // options.epochs, desc="unfreeze", unit="step"
        ) as bar:
            while self.progress.epochs < options.epochs and not self.out_of_patience():
                started_s = time.perf_counter()
                loss = self.train_epoch(self.progress.epochs, steps, bar)
                self.progress.epochs += 1
                self.progress.seconds += time.perf_counter() - started_s
                self.evaluate(loss)
                self.save_checkpoint(checkpoint)
                logger.info(self.epoch_summary())
        self.load_trained(self.best_state)
        self.model.eval()
        return self.progress

    def train_epoch(self, epoch: int, steps: int, bar: Any) -> float:
        """One pass over train → its mean loss."""
        options = self.options
        free = self.schedule.free_parameters[epoch]
        freezing.apply(self.model.network, free)
        freezing.set_modes(
            self.model.network, free, self.schedule.blocks, norm_statistics_frozen=options.norm_statistics == "frozen"
        )
        self.model.head.train()
        torch.manual_seed(step_seed(options.seed, epoch))  # dropout
        generator = torch.Generator().manual_seed(step_seed(options.seed, epoch))
        order = torch.randperm(len(self.train), generator=generator).numpy()
        total = 0.0
        step = epoch * math.ceil(len(order) / options.batch_size)
        for positions, prepared in self.train.batches(order, options.batch_size):
            rate = optimizer.set_rates(self.optimizer, step, steps, options.warm_up)
            loss = self.train_step(prepared, positions, generator)
            if not math.isfinite(loss):
                raise IceboxError(
                    f"the loss is {loss} at step {step} of {steps} (epoch {epoch + 1}, learning rate {rate:.2g}); "
                    "try a smaller learning_rate, a smaller clip or precision: float32"
                )
            total += loss * len(positions)
            step += 1
            bar.update()
            bar.set_postfix(loss=f"{loss:.3f}", val=f"{self.progress.best:.4f}", refresh=False)
        return total / len(order)

    def train_step(self, prepared: Sequence[Any], positions: np.ndarray, generator: torch.Generator) -> float:
        """One optimizer step over a batch, in micro-batches whose gradients add up → its loss."""
        while True:
            self.optimizer.zero_grad()
            try:
                loss = sum(
                    self.backward([prepared[i] for i in rows], positions[rows], len(positions), generator)
                    for rows in self.micro_batches(self.train, prepared)
                )
                break
            except torch.cuda.OutOfMemoryError:
                self.halve_micro_batches()
        if math.isfinite(loss):
            self.fabric.clip_gradients(
                self.wrapped_model, self.optimizer, max_norm=self.options.clip, error_if_nonfinite=False
            )
            self.optimizer.step()
            if self.average:
                self.average.update()
        return float(loss)

    def micro_batches(self, items: Items, prepared: Sequence[Any]) -> list[list[int]]:
        """Positions in a batch of the items that pass together, by text length and the device's memory."""
        size = self.micro_batch_size
        return [
            [start + i for i in rows]
            for start in range(0, len(prepared), size)
            for rows in items.sub_batches(prepared[start : start + size])
        ]

    def halve_micro_batches(self) -> None:
        """Pass half as many items at a time from here on; the optimizer's batch stays as it is."""
        if self.micro_batch_size == 1:
            raise IceboxError(
                "out of memory with one item at a time; free fewer blocks, or give pictures a smaller size"
            )
        self.micro_batch_size = math.ceil(self.micro_batch_size / 2)
        torch.cuda.empty_cache()
        logger.warning("out of memory: %d items at a time from here on, added up", self.micro_batch_size)

    def backward(
        self, prepared: Sequence[Any], positions: np.ndarray, batch_size: int, generator: torch.Generator
    ) -> float:
        """Add up the gradients of a micro-batch of a batch of `batch_size` items → its share of the batch's loss."""
        inputs = self.train.inputs(prepared)
        if self.augment:
            inputs = [self.augment(part, generator=generator) for part in inputs]
        targets = self.targets[positions].to(self.fabric.device)
        weights = self.weights[positions].to(self.fabric.device)
        loss = self.losses(inputs, targets, weights, generator).sum() / batch_size
        self.fabric.backward(loss)
        return float(loss.detach())

    def losses(self, inputs: Sequence[Inputs], targets: Tensor, weights: Tensor, generator: torch.Generator) -> Tensor:
        """Each item's loss (b,), by its weight (b,)."""
        smoothing = self.options.label_smoothing
        if self.options.mixup:
            mixture = losses.draw_mixture(len(targets), self.options.mixup, generator)
            scores = self.wrapped_model([mixture.images(part) for part in inputs])
            return mixture.losses(scores, targets, weights, label_smoothing=smoothing)
        scores = self.wrapped_model(inputs)
        of_items = losses.of_items(scores, targets, label_smoothing=smoothing)
        if self.options.r_drop:
            again = self.wrapped_model(inputs)
            both = of_items + losses.of_items(again, targets, label_smoothing=smoothing)
            of_items = (both + self.options.r_drop * losses.divergence(scores, again, sets=targets.ndim == 2)) / 2
        return of_items * weights

    @torch.inference_mode()
    def predict_scores(self, items: Items) -> np.ndarray:
        """Scores (n, k) of items, in their order, with the current weights."""
        self.model.eval()
        order, score_blocks = [], []
        for positions, prepared in items.batches(np.arange(len(items)), self.options.batch_size):
            for rows in self.micro_batches(items, prepared):
                order.append(positions[rows])
                inputs = items.inputs([prepared[i] for i in rows])
                score_blocks.append(self.model(inputs).float().cpu().numpy())
        scores = np.concatenate(score_blocks)
        return scores[np.argsort(np.concatenate(order))]

    def evaluate(self, loss: float) -> None:
        """Score val, add a line to the curve, and keep the weights, or their average, if they are the best so far."""
        with self.average.applied() if self.average else nullcontext():
            scores = self.scores_of_val()
            value = metrics.utility(scores, self.metric)
            self.progress.curve.append({"epoch": self.progress.epochs, "loss": loss, **scores})
            self.on_epoch(self.progress.curve[-1])
            if value > self.progress.best:
                self.progress.best, self.progress.best_epoch = value, self.progress.epochs
                self.best_state = copy.deepcopy(self.model.state_dict())

    def scores_of_val(self) -> dict[str, float]:
        """The metrics on val with the current weights."""
        return self.score(self.predict_scores(self.val))

    def out_of_patience(self) -> bool:
        """Whether val has not improved for `patience` epochs."""
        epochs_since_best = self.progress.epochs - self.progress.best_epoch
        return self.options.patience is not None and epochs_since_best >= self.options.patience

    def save_checkpoint(self, checkpoint: CheckpointFiles) -> None:
        """Write all that the next epoch depends on, whole or not at all."""
        state = {
            "whole": self.trained(self.model.state_dict()),
            "best": self.trained(self.best_state),
            "mean": self.trained(self.average.state_dict()) if self.average else {},
            "optimiser": self.optimizer.state_dict(),
            "progress": vars(self.progress),
        }
        checkpoint.save(self.progress.epochs, state)

    def load_checkpoint(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint's state. Where it does not fit, raises an error and changes nothing."""
        parts: dict[str, Any] = {"model": self.model, "optimizer": self.optimizer}
        if self.average:
            parts["average"] = self.average
        with unchanged_on_failure(parts):
            self.load_trained(state["best"])  # is of the right shape, too
            self.load_trained(state["whole"])
            self.optimizer.load_state_dict(state["optimiser"])
            if self.average:
                self.average.load_state_dict(self.trained(state["mean"]))
            self.best_state, self.progress = state["best"], Progress(**state["progress"])

    def trained(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """A state of the model without the parameters that are never free, which stay as they were loaded."""
        free = set().union(*self.schedule.free_parameters)
        never = {f"network.{name}" for name, _ in self.model.network.named_parameters() if name not in free}
        return {name: value for name, value in state.items() if name not in never}

    def load_trained(self, state: dict[str, Tensor]) -> None:
        """Put the trained part of a state into the model. Raises KeyError or RuntimeError where that does not fit."""
        expected, trained = self.trained(self.model.state_dict()), self.trained(state)
        if expected.keys() != trained.keys():
            raise KeyError(f"a state of other parameters: {min(expected.keys() ^ trained.keys())}")
        self.model.load_state_dict(trained, strict=False)

    def epoch_summary(self) -> str:
        """The last epoch in a line of text."""
        last = self.progress.curve[-1]
        scores = ", ".join(f"{k} {formatting.number(v)}" for k, v in last.items() if k not in ("epoch", "n"))
        return f"epoch {last['epoch']:.0f} of {self.options.epochs}: {scores}"
