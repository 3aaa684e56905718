"""AdamW for fine-tuning: learning rates that shrink towards the input, and a schedule of the step alone."""

from collections.abc import Sequence

import torch
from torch import nn

from icebox.features.models.schedules import warm_up_cosine
from icebox.features.nn import blocks


def groups(
    network: nn.Module,
    head: nn.Module,
    order: Sequence[str],
    *,
    learning_rate: float,
    head_learning_rate: float,
    layer_decay: float,
    weight_decay: float,
) -> list[dict[str, object]]:
    """AdamW's parameter groups, one for each rate and decay; `peak` is the rate that the schedule scales.

    `order` are the network's blocks. The last one is trained at `learning_rate`, each other one at `layer_decay` times
    the next one's rate. Norms and biases (one axis or none) are not decayed.
    """
    parameters_of: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        depth = len(order) - 1 - blocks.block_index(name, order)
        decay = weight_decay if parameter.ndim > 1 else 0.0
        parameters_of.setdefault((learning_rate * layer_decay**depth, decay), []).append(parameter)
    for parameter in head.parameters():
        decay = weight_decay if parameter.ndim > 1 else 0.0
        parameters_of.setdefault((head_learning_rate, decay), []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "peak": rate, "weight_decay": decay}
        for (rate, decay), parameters in parameters_of.items()
    ]


def set_rates(optimizer: torch.optim.Optimizer, step: int, steps: int, warm_up: float) -> float:
    """Set every group's rate for step 0, 1, … of `steps`, as a share of its peak → the largest of them."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * warm_up_cosine((step + 1) / steps, warm_up)
    return max(float(group["lr"]) for group in optimizer.param_groups)
