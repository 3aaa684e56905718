"""Train a backbone and its head end to end, from the head that was fitted on cached features.

The frozen epochs are already paid for: the head is the linear probe of LP-FT (Kumar et al. 2022, arXiv 2202.10054),
and training begins where it stands. The state before the first step is a candidate like that after every epoch; the
best on val is kept. Everything random hangs on seed and epoch alone, so that a killed run goes on as if nothing had
happened.
"""

import copy
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

import lightning_fabric
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from icebox.features import files
from icebox.features.errors import IceboxError
from icebox.features.nn import blocks, freezing, partial_forward
from icebox.features.nn.backbone import NetworkBackbone
from icebox.features.nn.layer_outputs import Inputs
from icebox.pipeline.config.schema import UnfreezeOptions
from icebox.pipeline.evaluation import metrics
from icebox.pipeline.unfreezing import optimizer
from icebox.pipeline.unfreezing.end_to_end import Whole
from icebox.pipeline.unfreezing.weight_averaging import RunningMean

PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}

Score = Callable[[np.ndarray], dict[str, float]]  # scores (n, k) of val's items → scores by name
Augment = Callable[..., Inputs]  # (inputs, generator=)
Tell = Callable[[dict[str, float]], None]  # a line of the curve → somebody who looks on


@dataclass
class Progress:
    """What a checkpoint holds besides weights: epochs done, the curve, the best epoch and its score."""

    epochs: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best: float = -math.inf
    seconds: float = 0.0


class Items(Protocol):
    """Items as training takes them: `Prepared`, or `FromCut`."""

    def __len__(self) -> int: ...

    def batches(self, order: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, list[Any]]]:
        """(positions (b,), items) in this order, `size` at a time."""

    def together(self, prepared: Sequence[Any]) -> list[list[int]]:
        """Positions of what best passes together of a batch: a long text would have short ones padded to its length."""

    def inputs(self, prepared: Sequence[Any]) -> list[Inputs]:
        """What the network is called with for these items; of siamese pairs once for each text."""


@dataclass(frozen=True)
class Plan:
    """The network's blocks, first passed first, and the parameters that are free in each epoch."""

    order: list[str]
    free: list[set[str]]

    @classmethod
    def of(cls, backbone: NetworkBackbone, how: UnfreezeOptions, inputs: Inputs) -> Self:
        """`inputs` of a few items are passed to find the blocks."""
        network = backbone.capture.network
        order = blocks.names(network, lambda: backbone.capture.tensors(inputs).values())
        return cls(order, [freezing.parameters(free, network, order) for free in freezing.plan(how.free, how.epochs)])

    @property
    def frozen_to(self) -> str | None:
        """The last block of the part that is never freed; None where there is no such part."""
        return partial_forward.last_frozen(self.order, set().union(*self.free))


class Unfreezing:
    """One run. `targets` are train's class numbers (n,), or floats to regress, and `weights` (n,) how much each counts;
    `score` judges val's scores.
    """

    def __init__(
        self,
        whole: Whole,
        plan: Plan,
        how: UnfreezeOptions,
        *,
        train: Items,
        targets: np.ndarray,
        val: Items,
        score: Score,
        choose: str = "accuracy",
        weights: np.ndarray | None = None,
        augment: Augment | None = None,
        tell: Tell | None = None,
    ) -> None:
        self.choose, self.tell = choose, tell or (lambda line: None)
        self.whole, self.plan, self.how, self.train, self.val, self.score = whole, plan, how, train, val, score
        self.augment = augment
        self.fabric = lightning_fabric.Fabric(
            accelerator="auto",
            devices=1,
            precision=PRECISIONS[how.precision],  # type: ignore[arg-type]
        )
        self.targets = torch.as_tensor(targets)
        self.weights = torch.ones(len(self.targets)) if weights is None else torch.as_tensor(weights).float()
        self.micro_batch = how.batch_size
        self.progress = Progress()

    def run(self, folder: Path) -> Progress:
        """Train for every epoch that `folder`'s checkpoint has not seen, and leave the best weights in the network."""
        how, fabric = self.how, self.fabric
        groups = optimizer.groups(
            self.whole.network,
            self.whole.head,
            self.plan.order,
            learning_rate=how.learning_rate,
            head_learning_rate=how.head_learning_rate or 10 * how.learning_rate,
            layer_decay=how.layer_decay,
            weight_decay=how.weight_decay,
        )
        self.model, self.optimiser = fabric.setup(self.whole, torch.optim.AdamW(groups))
        self.best = copy.deepcopy(self.whole.state_dict())
        self.mean = RunningMean(self.whole, how.average) if how.average else None
        checkpoint = folder / "checkpoint.pt"
        if checkpoint.exists():
            self.resume(checkpoint)
        else:
            self.judge(loss=math.nan)
        steps = how.epochs * math.ceil(len(self.train) / how.batch_size)
        with tqdm(
            total=steps, initial=self.progress.epochs * steps // how.epochs, desc="unfreeze", unit="step", disable=None
        ) as bar:
            while self.progress.epochs < how.epochs and not self.tired():
                began = time.perf_counter()
                loss = self.epoch(self.progress.epochs, steps, bar)
                self.progress.epochs += 1
                self.progress.seconds += time.perf_counter() - began
                self.judge(loss)
                self.keep(checkpoint)
                print(self.line(), file=sys.stderr)
        self.whole.load_state_dict(self.best)
        self.whole.eval()
        return self.progress

    def epoch(self, number: int, steps: int, bar: Any) -> float:
        """One pass over train → its mean loss."""
        how = self.how
        free = self.plan.free[number]
        freezing.apply(self.whole.network, free)
        freezing.set_modes(
            self.whole.network, free, self.plan.order, norm_statistics_frozen=how.norm_statistics == "frozen"
        )
        self.whole.head.train()
        torch.manual_seed(how.seed * 1_000_003 + number)  # dropout
        generator = torch.Generator().manual_seed(how.seed * 1_000_003 + number)
        order = torch.randperm(len(self.train), generator=generator).numpy()
        total = 0.0
        step = number * math.ceil(len(order) / how.batch_size)
        for positions, prepared in self.train.batches(order, how.batch_size):
            rate = optimizer.set_rate(self.optimiser, step, steps, how.warm_up)
            loss = self.step(prepared, positions, generator)
            if not math.isfinite(loss):
                raise IceboxError(
                    f"the loss is {loss} at step {step} of {steps} (epoch {number + 1}, learning rate {rate:.2g}); "
                    "try a smaller learning_rate, a smaller clip or precision: float32"
                )
            total += loss * len(positions)
            step += 1
            bar.update()
            bar.set_postfix(loss=f"{loss:.3f}", val=f"{self.progress.best:.4f}", refresh=False)
        return total / len(order)

    def step(self, prepared: Sequence[Any], positions: np.ndarray, generator: torch.Generator) -> float:
        """One optimiser step over a batch, in pieces whose gradients add up → its loss."""
        while True:
            self.optimiser.zero_grad()
            try:
                loss = sum(
                    self.backward([prepared[i] for i in piece], positions[piece], len(positions), generator)
                    for piece in self.pieces(self.train, prepared)
                )
                break
            except torch.cuda.OutOfMemoryError:
                self.take_less()
        if math.isfinite(loss):
            self.fabric.clip_gradients(self.model, self.optimiser, max_norm=self.how.clip, error_if_nonfinite=False)
            self.optimiser.step()
            if self.mean:
                self.mean.update()
        return float(loss)

    def pieces(self, items: Items, prepared: Sequence[Any]) -> list[list[int]]:
        """Positions in a batch of what passes together, as lengths ask for and the device's memory allows."""
        size = self.micro_batch
        return [
            [start + i for i in rows]
            for start in range(0, len(prepared), size)
            for rows in items.together(prepared[start : start + size])
        ]

    def take_less(self) -> None:
        """Pass half as many items at a time from here on; the optimiser's batch stays what it is."""
        if self.micro_batch == 1:
            raise IceboxError(
                "out of memory with one item at a time; free fewer blocks, or give pictures a smaller size"
            )
        self.micro_batch = math.ceil(self.micro_batch / 2)
        torch.cuda.empty_cache()
        print(f"out of memory: {self.micro_batch} items at a time from here on, added up", file=sys.stderr)

    def backward(self, prepared: Sequence[Any], positions: np.ndarray, of: int, generator: torch.Generator) -> float:
        """Add up the gradients of a piece of a batch of `of` items → its share of the batch's loss."""
        inputs = self.train.inputs(prepared)
        if self.augment:
            inputs = [self.augment(part, generator=generator) for part in inputs]
        losses = self.losses(self.model(inputs), self.targets[positions].to(self.fabric.device))
        loss = (losses * self.weights[positions].to(losses)).sum() / of
        self.fabric.backward(loss)
        return float(loss.detach())

    def losses(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Each item's cross-entropy from scores (b, k); of floats to regress, its squared error."""
        if targets.is_floating_point():
            return (scores.reshape(len(targets)).float() - targets.float()) ** 2
        return F.cross_entropy(scores.float(), targets, reduction="none", label_smoothing=self.how.label_smoothing)

    @torch.inference_mode()
    def scores(self, items: Items) -> np.ndarray:
        """Scores (n, k) of items, in their order, as the network is now."""
        self.whole.eval()
        passed, found = [], []
        for positions, prepared in items.batches(np.arange(len(items)), self.how.batch_size):
            for piece in self.pieces(items, prepared):
                passed.append(positions[piece])
                found.append(self.whole(items.inputs([prepared[i] for i in piece])).float().cpu().numpy())
        scores = np.concatenate(found)
        return scores[np.argsort(np.concatenate(passed))]

    def judge(self, loss: float) -> None:
        """Score val, add a line to the curve, and keep the weights, or their mean, where they are the best so far."""
        with self.mean.in_place() if self.mean else nullcontext():
            scores = self.score(self.scores(self.val))
            value = metrics.utility(scores, self.choose)
            self.progress.curve.append({"epoch": self.progress.epochs, "loss": loss, **scores})
            self.tell(self.progress.curve[-1])
            if value > self.progress.best:
                self.progress.best, self.progress.best_epoch = value, self.progress.epochs
                self.best = copy.deepcopy(self.whole.state_dict())

    def tired(self) -> bool:
        """Whether val has not improved for `patience` epochs."""
        waited = self.progress.epochs - self.progress.best_epoch
        return self.how.patience is not None and waited >= self.how.patience

    def keep(self, checkpoint: Path) -> None:
        """Write all that the next epoch hangs on, whole or not at all."""
        state = {
            "whole": self.whole.state_dict(),
            "best": self.best,
            "mean": self.mean.weights if self.mean else {},
            "optimiser": self.optimiser.state_dict(),
            "progress": vars(self.progress),
        }
        with files.replacing(checkpoint) as temporary, temporary.open("wb") as stream:
            torch.save(state, stream)

    def resume(self, checkpoint: Path) -> None:
        """Go on from there."""
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        self.whole.load_state_dict(state["whole"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.mean:
            self.mean.load(state["mean"])
        self.best, self.progress = state["best"], Progress(**state["progress"])
        for line in self.progress.curve:
            self.tell(line)
        print(f"going on from epoch {self.progress.epochs}", file=sys.stderr)

    def line(self) -> str:
        """The last epoch in a line."""
        last = self.progress.curve[-1]
        named = ", ".join(f"{name} {value:.4f}" for name, value in last.items() if name not in ("epoch", "n"))
        return f"epoch {last['epoch']:.0f} of {self.how.epochs}: {named}"
