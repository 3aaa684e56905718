"""LoRA by peft: beside frozen linear layers, products of two thin matrices learn (Hu et al. 2021, arXiv 2106.09685)."""

import importlib.util
import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from icebox.features.compat import allow_mismatched_torchvision
from icebox.features.errors import IceboxError
from icebox.features.nn import blocks
from icebox.pipeline.adapters import attention_names
from icebox.pipeline.config.unfreeze import Lora

LINEAR = ("Linear", "Conv1D")  # classes, with those derived from them; transformers' Conv1D is GPT-2's linear layer
logger = logging.getLogger("icebox")


def check_installed() -> None:
    """Raise IceboxError where peft is missing."""
    if importlib.util.find_spec("peft") is None:
        raise IceboxError("free: lora needs peft, which is not installed; pip install 'icebox[lora]'")


def add(
    network: nn.Module, options: Lora, order: Sequence[str], run: Callable[[], Iterable[Tensor]], *, seed: int
) -> set[str]:
    """Put adapters into the network, drawn from `seed`, that change nothing yet → the names of their parameters.

    `order` are the network's blocks; `run` passes one batch and returns the outputs. Raises IceboxError where there is
    no linear layer to adapt.
    """
    check_installed()
    allow_mismatched_torchvision()  # peft imports transformers
    from peft import LoraConfig
    from peft.tuners.lora import LoraLayer, LoraModel

    targets = target_layers(network, options.targets, usable_layers(network, order, run))
    config = LoraConfig(
        r=options.lora,
        lora_alpha=2 * options.lora if options.alpha is None else options.alpha,  # type: ignore[arg-type]
        lora_dropout=options.dropout,
        target_modules="|".join(map(re.escape, targets)),  # a list would match ends of names
        fan_in_fan_out=any(type(network.get_submodule(name)).__name__ == "Conv1D" for name in targets),
    )
    originals = {name: network.get_submodule(name) for name in targets}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        LoraModel(network, config, "default")
    for name, original in originals.items():
        adapted = network.get_submodule(name)
        assert isinstance(adapted, LoraLayer)
        adapted.train(original.training)
        move_hooks(original, adapted)
    free = {name for name, _ in network.named_parameters() if is_adapter(name)}
    ends = sorted({name.rpartition(".")[2] for name in targets})
    logger.info("lora: rank %d in %d linear layers (%s)", options.lora, len(targets), ", ".join(ends))
    return free


def merge(network: nn.Module) -> None:
    """Add what the adapters learned to the layers that they stand beside, and take them out."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(network.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge(safe_merge=True)
            original, adapted = module.get_base_layer(), network.get_submodule(name)
            move_hooks(adapted, original)
            network.set_submodule(name, original)


def usable_layers(network: nn.Module, order: Sequence[str], run: Callable[[], Iterable[Tensor]]) -> list[str]:
    """The linear layers in the blocks that the outputs depend on by a call, in the network's order.

    One whose weight is only read, as torchvision's Swin does, would go on without its adapter.
    """
    linear = [name for name, module in network.named_modules() if is_linear(module)]
    called, used = blocks.trace(network, run)
    return [
        name
        for name in linear
        if name in called and f"{name}.weight" in used and any(blocks.is_within(name, block) for block in order)
    ]


def target_layers(network: nn.Module, patterns: Sequence[str] | None, usable: Collection[str]) -> list[str]:
    """The layers to adapt: those whose name, or the end of it behind a dot, matches a pattern.

    Without patterns those of queries and values, as Hu et al. did, or all where attention has no such layers.
    """
    if not usable:
        raise IceboxError(
            "free: lora adapts linear layers, and no output of this network depends on one; choose `last K`, `all` or "
            "patterns of parameters"
        )
    if patterns is None:
        attention = [
            f"{name}.{part}".lstrip(".")
            for name, module in network.named_modules()
            for part in attention_names.query_and_value(module)
        ]
        return [name for name in attention if name in usable] or list(usable)
    for pattern in patterns:
        if not any(matches(name, pattern) for name in usable):
            ends = sorted({name.rpartition(".")[2] for name in usable})
            raise IceboxError(
                f"free: targets: '{pattern}' is no linear layer that the outputs depend on; there are {', '.join(ends)}"
            )
    return [name for name in usable if any(matches(name, pattern) for pattern in patterns)]


def matches(name: str, pattern: str) -> bool:
    """Whether a layer's name, or the end of it behind a dot, matches a pattern."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"*.{pattern}")


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a linear layer that peft can adapt."""
    return any(kind.__name__ in LINEAR for kind in type(module).__mro__)


def is_adapter(parameter: str) -> bool:
    """Whether a parameter is an adapter's, by its name."""
    return ".lora_" in parameter


def move_hooks(source: nn.Module, target: nn.Module) -> None:
    """Let what follows a layer's output follow that of the layer in its place."""
    target._forward_hooks.update(source._forward_hooks)
    source._forward_hooks = OrderedDict()
