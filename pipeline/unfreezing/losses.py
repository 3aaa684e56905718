"""The losses of a batch's items when a network is trained end to end, and two ways to regularize them.

Letters: b batch, k classes, or labels of a set.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icebox.features.errors import IceboxError
from icebox.features.nn.layer_outputs import Inputs
from icebox.pipeline.config.unfreeze import UnfreezeOptions


def of_items(scores: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Each item's cross-entropy (b,) from scores (b, k); of floats to regress, its squared error.

    Of sets of labels (b, k), 0 or 1, the cross-entropies of each label against the rest are summed, as heads of sets
    do; smoothing moves labels towards 0.5.
    """
    if targets.ndim == 2:
        smoothed = targets.float() * (1 - label_smoothing) + label_smoothing / 2
        return F.binary_cross_entropy_with_logits(scores.float(), smoothed, reduction="none").sum(1)
    if targets.is_floating_point():
        return (scores.reshape(len(targets)).float() - targets) ** 2
    return F.cross_entropy(scores.float(), targets, reduction="none", label_smoothing=label_smoothing)


def divergence(first: Tensor, second: Tensor, *, sets: bool = False) -> Tensor:
    """The mean (b,) of both Kullback-Leibler divergences between the probabilities of two scores (b, k); of `sets` of
    labels the sum of each label's.

    R-Drop (Liang et al. 2021, arXiv 2106.14448) asks two passes of one item under other dropout to agree.
    """
    if sets:
        first, second = first.float(), second.float()
        return ((first.sigmoid() - second.sigmoid()) * (first - second)).sum(1) / 2
    p, q = first.float().log_softmax(1), second.float().log_softmax(1)
    return ((p.exp() - q.exp()) * (p - q)).sum(1) / 2


@dataclass(frozen=True)
class Mixture:
    """Items of a batch laid over each other in pairs (mixup; Zhang et al. 2018, arXiv 1710.09412).

    `shares` (b,) are those of the items themselves, the rest is that of their `partners` (b,).
    """

    shares: Tensor
    partners: Tensor

    def images(self, inputs: Inputs) -> Inputs:
        """Images (b, c, h, w), mixed."""
        (images,) = inputs.args
        shares = self.shares.to(images)[:, None, None, None]
        return replace(inputs, args=(shares * images + (1 - shares) * images[self.partners.to(images.device)],))

    def losses(self, scores: Tensor, targets: Tensor, weights: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Each mixed item's loss (b,): its own label's and its partner's by their shares, each by its weight (b,)."""
        shares, partners = self.shares.to(weights), self.partners.to(weights.device)
        own = of_items(scores, targets, label_smoothing=label_smoothing) * weights
        others = of_items(scores, targets[partners], label_smoothing=label_smoothing) * weights[partners]
        return shares * own + (1 - shares) * others


def check(options: UnfreezeOptions, sample: Inputs, model: nn.Module, *, classes: int) -> None:
    """Raise IceboxError where the options ask for something that these inputs or this network don't have."""
    images = len(sample.args) == 1 and sample.args[0].ndim == 4
    for key in ("augment", "mixup"):
        if getattr(options, key) and not images:
            raise IceboxError(f"{key}: expected images, found inputs of another kind; take {key} out")
    if not options.r_drop:
        return
    if options.mixup:
        raise IceboxError("r_drop and mixup: expected one of them, found both; take one out")
    if not classes:
        raise IceboxError("r_drop: expected classes, found numbers to regress; take r_drop out")
    if not any(isinstance(module, nn.Dropout) and module.p for module in model.modules()):
        raise IceboxError("r_drop: expected a network with dropout, found none in it; take r_drop out")


def draw_mixture(items: int, alpha: float, generator: torch.Generator) -> Mixture:
    """A mixture of `items` items, with shares of Beta(`alpha`, `alpha`)."""
    partners = torch.randperm(items, generator=generator)
    random = np.random.default_rng(int(torch.randint(1 << 62, (), generator=generator)))
    return Mixture(torch.from_numpy(random.beta(alpha, alpha, items).astype(np.float32)), partners)
