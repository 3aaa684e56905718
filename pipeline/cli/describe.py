"""`icebox describe BACKBONE`: every layer that `outputs:` may name, as one forward pass shows it, and the attention of
a transformer's layers; `icebox describe attention`: a layer of attention that is given by numbers alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from tabulate import tabulate

from icebox.features.abc.backbone import Backbone
from icebox.features.errors import IceboxError
from icebox.features.ragged import flat
from icebox.pipeline.catalog import backbones
from icebox.pipeline.cli import attention
from icebox.pipeline.config import loader, names
from icebox.pipeline.project import paths

if TYPE_CHECKING:  # a floor without a network must not cost the two seconds of importing torch
    from icebox.features.nn.layer_outputs import LayerOutputs

ATTENTION = "attention"  # in place of a backbone's name
LENGTH = 16  # tokens, unless said otherwise
Shape = tuple[int, ...]


@runtime_checkable
class Layered(Protocol):
    """A backbone with a network whose layers can be asked for."""

    layer_outputs: "LayerOutputs"


@runtime_checkable
class Graphed(Protocol):
    """A backbone whose values have names and shapes, and no layers of torch: an ONNX file."""

    def layer_shapes(self, items: Sequence[Any]) -> Mapping[str, Shape]:
        """The shapes of the values, by their names, in the order in which they are computed."""


@runtime_checkable
@dataclass(frozen=True)
class Tokenized(Protocol):
    """A prepared text that is a list of tokens."""

    ids: list[int]


def text(
    name: str,
    *,
    size: int | None = None,
    batch: int = 1,
    length: int | None = None,
    layer: Mapping[str, Any] | None = None,
) -> str:
    """The text of the command: `layer` are the numbers of `attention`, by the names of `attention.layer_text`.

    Raises IceboxError for a number below 1, and for options of the other kind.
    """
    numbers = {"size": size, "batch": batch, "length": length, **(layer or {})}
    for option, value in numbers.items():
        if value is not None and value is not False and value < 1:
            raise IceboxError(f"--{option.replace('_', '-')}: expected 1 or more, found {value}")
    if name == ATTENTION and (layer or not is_entry(name)):
        if missing := [f"--{option}" for option in ("hidden", "heads") if option not in (layer or {})]:
            raise IceboxError(
                f"describe {name}: expected --hidden and --heads, found no {' and no '.join(missing)}; "
                f"try: icebox describe {name} --batch 10 --length 90 --hidden 20 --heads 5"
            )
        if size is not None:
            raise IceboxError("--size: is for backbones that take images; a layer of attention has --length tokens")
        return attention.layer_text(batch=batch, length=length or LENGTH, **(layer or {}))
    if layer:
        option = next(iter(layer)).replace("_", "-").replace("bias", "no-bias")
        raise IceboxError(f"--{option}: is for `describe {ATTENTION}`; backbone '{name}' has numbers of its own")
    return layer_table(name, size=size, batch=batch, length=length)


def is_entry(name: str) -> bool:
    """Whether the project here, if there is one, has a backbone of this name."""
    if not paths.PARAMS.exists():
        return False
    settings = loader.load()
    return name in settings.backbones or name in settings.pretrain


def layer_table(name: str, *, size: int | None = None, batch: int = 1, length: int | None = None) -> str:
    """A table of the layers, for grey pictures or for texts of one word over and over, and of their attention.

    Raises IceboxError for a backbone that is not there, and for an input that it can't take.
    """
    settings = loader.load()
    names.check_known("backbone", name, [*settings.backbones, *settings.pretrain], "describe")
    network = backbones.load(name, settings.backbone(name).family, None, precision="float32")
    for option, value, kind in (("size", size, "image"), ("length", length, "text")):
        if value is not None and network.modality != kind:
            raise IceboxError(f"--{option}: is for {kind}s; backbone '{name}' takes {network.modality}s")
    items = [gray_image(network, size) if network.modality == "image" else word_text(network, length or LENGTH)] * batch
    if isinstance(network, Graphed):
        return format_shapes(network.layer_shapes(items), len(items), image=network.modality == "image")
    if not isinstance(network, Layered):
        (output,) = network.encode(items).values()
        return f"{name} has no layers, only `last`: {flat(output).shape}"
    return format_layers(network, items)


def gray_image(network: Backbone, size: int | None) -> Any:
    """A grey picture, prepared; of size×size pixels where the network takes any size."""
    prepared = network.prepare(np.full((64, 64, 3), 127, np.uint8))
    if size is None:
        return prepared
    if "crop" not in network.spec.get("preprocess", {}):
        raise IceboxError(f"--size: {network.spec['family']} takes pictures of one size only, which is its own")
    return prepared[:, :1, :1].expand(-1, size, size)


def word_text(network: Backbone, length: int) -> Any:
    """A text of so many tokens, prepared; whole where the network does not read tokens."""
    prepared = network.prepare("word " * length)
    if not isinstance(prepared, Tokenized):
        return prepared
    if len(prepared.ids) < length:
        raise IceboxError(f"--length: expected at most {len(prepared.ids)} tokens, found {length}")
    return replace(prepared, ids=prepared.ids[:length])


def format_layers(network: Any, items: Sequence[Any]) -> str:
    """One line a layer, in the network's own order, `last` at the end; below it the layers of attention."""
    from icebox.features.nn.layer_outputs import LAST
    from icebox.pipeline.cli import attention_layers

    modules = {name or LAST: module for name, module in network.layer_outputs.network.named_modules()}
    run = {name or LAST: module for name, module in network.layer_outputs.inference_network.named_modules()}
    shapes: dict[str, Shape] = {}
    hooks = [module.register_forward_hook(recording_hook(shapes, name)) for name, module in run.items()]
    try:
        network.layer_outputs(network.inputs(items))
    except RuntimeError as reason:  # torch's own, for pictures too small or of a size that the network can't take
        raise IceboxError(f"the network can't take this input: {reason}") from reason
    finally:
        for hook in hooks:
            hook.remove()
    lines: str = tabulate(
        [
            {
                "layer": name,
                "output": str(shapes[name]),
                "parameters": sum(parameter.numel() for parameter in modules[name].parameters()),
                "poolings": ", ".join(applicable_poolings(shapes[name], len(items), image=network.modality == "image")),
            }
            for name in [*(name for name in modules if name != LAST), LAST]
            if name in shapes
        ],
        headers="keys",
        intfmt=",",
        disable_numparse=[0, 1, 3],
    )
    inside = attention_layers.texts(modules, shapes, items=len(items))
    return "\n\n".join([lines, *inside])


def format_shapes(shapes: Mapping[str, Shape], batch: int, *, image: bool) -> str:
    """One line a value of a graph, its outputs at the end."""
    rows = [
        {"value": name, "output": str(shape), "poolings": ", ".join(applicable_poolings(shape, batch, image=image))}
        for name, shape in shapes.items()
    ]
    lines: str = tabulate(rows, headers="keys", disable_numparse=True)
    return lines


def applicable_poolings(shape: Shape, batch: int, *, image: bool) -> list[str]:
    """The poolings for a layer; none where it does not give a row an item, as a table of positions does not."""
    from icebox.features.nn.pooling import POOLINGS_BY_AXES

    poolings = POOLINGS_BY_AXES.get(len(shape), ["none"]) if shape[:1] == (batch,) else ["none"]
    return [*poolings, "map"] if image and "tokens" in poolings else poolings


def recording_hook(shapes: dict[str, Shape], name: str) -> Callable[..., None]:
    """A hook that notes the shape of what a layer returns, as `outputs:` would see it, unless that is no tensor."""
    from torch import Tensor

    from icebox.features.nn.layer_outputs import first_tensor

    def hook(_module: object, _args: object, output: Any) -> None:
        try:
            first = first_tensor(output)
        except (TypeError, KeyError, IndexError):
            return
        if isinstance(first, Tensor):
            shapes.setdefault(name, tuple(first.shape))

    return hook
