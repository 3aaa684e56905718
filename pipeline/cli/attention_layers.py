"""The layers of attention in a network that is here: found by the linear maps that make queries, keys and values, their
shapes read from one forward pass. Layers alike are described once."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from icebox.pipeline.adapters.attention_names import KV, QKV, K, Q, V, child, is_attention
from icebox.pipeline.cli.attention import Attention, Projections, Shape, Step, table

if TYPE_CHECKING:
    from torch import nn

# The names of the map behind the heads.
OUTPUT = ("o_proj", "out_proj", "out_lin", "o", "c_proj", "dense", "Wo", "proj", "output.dense")
# Names of the numbers, as modules keep them.
HEADS = ("num_heads", "num_attention_heads", "n_heads", "n_head")
KV_HEADS = ("num_key_value_heads", "num_kv_heads")
HEAD_SIZE = ("head_dim", "attention_head_size", "head_size", "key_value_proj_dim")
SCALE = ("scaling", "scale")
NAMES_MAX = 4  # of layers alike that are listed
CAUSAL_TOWERS = ("clip_text_model", "metaclip_2_text_model")  # by a mask that their modules do not know of


@dataclass(frozen=True)
class Layer:
    """A layer of a network: the attention in it, and all steps from its first module to its last."""

    name: str
    attention: Attention
    steps: tuple[Step, ...]

    @property
    def parameters(self) -> int:
        """The number of the layer's parameters."""
        return sum(step.parameters or 0 for step in self.steps)


def texts(modules: Mapping[str, "nn.Module"], shapes: Mapping[str, Shape], *, items: int) -> list[str]:
    """A block of text for each kind of layers; none for a network without attention.

    `modules` are the network's by name, `shapes` those of what each returned in one pass of so many `items`.
    """
    names = [name for name, module in modules.items() if is_attention(module)]
    layers: list[Layer] = []
    unseen: list[str] = []
    for name in names:
        layer = described(name, modules, shapes, others=names)
        if layer is None:
            unseen.append(name)
        else:
            layers.append(layer)
    alike: dict[tuple[Attention, tuple[Step, ...]], list[Layer]] = {}
    for layer in layers:
        alike.setdefault((layer.attention, layer.steps), []).append(layer)
    blocks: list[str] = []
    first_of: dict[Attention, Layer] = {}
    for (attention, _), same in alike.items():
        like = first_of.setdefault(attention, same[0])
        blocks.append(whole_text(same, items) if like is same[0] else difference_text(same, like))
    if unseen:
        blocks.append(
            f"Attention without a table, since its linear maps are not called as modules, or not for these outputs: "
            f"{', '.join(unseen[:3])}{f' and {len(unseen) - 3} more' if len(unseen) > 3 else ''}"
        )
    return blocks


def whole_text(alike: Sequence[Layer], items: int) -> str:
    """The table of layers alike."""
    first, attention, names = alike[0], alike[0].attention, names_of(alike)
    if attention.batch != items:  # Swin's windows are passed like items
        names += f", {attention.batch // items} windows an item"
    lines = [names, attention.title(), "", table(first.steps, total="all of the layer"), ""]
    if len(alike) > 1:
        lines.append(f"{len(alike)} layers of {first.parameters:,} parameters: {len(alike) * first.parameters:,}.")
    return "\n".join([*lines, *attention.notes()])


def difference_text(alike: Sequence[Layer], like: Layer) -> str:
    """A line on layers whose attention is that of a layer described before."""
    first = alike[0]
    lacks, has = ([step for step in a.steps if step not in b.steps] for a, b in ((like, first), (first, like)))
    parts = [
        f"{word} {', '.join(f'{step.module or step.name} ({step.parameters or 0:,})' for step in steps)}"
        for word, steps in (("without", lacks), ("with", has))
        if steps
    ]
    if not parts:
        parts = ["in all"]
    return (
        f"{names_of(alike)}: attention as in {like.name}, {', '.join(parts)}; {first.parameters:,} parameters a layer"
    )


def names_of(alike: Sequence[Layer]) -> str:
    """The names of layers alike, in the network's order."""
    names = [layer.name for layer in alike]
    if len(names) > NAMES_MAX:
        names[NAMES_MAX - 1 : -1] = ["…"]
    return ", ".join(names) + (f" ({len(alike)} layers alike)" if len(alike) > 1 else "")


def described(
    name: str, modules: Mapping[str, "nn.Module"], shapes: Mapping[str, Shape], *, others: Sequence[str]
) -> Layer | None:
    """The layer around the attention module `name`; None where the pass did not call its linear maps one by one."""
    measured = measure(name, modules, shapes)
    if measured is None:
        return None
    attention, projections = measured
    layer = layer_around(name, modules, others)
    prefix = f"{layer}." if layer else ""
    inside = {part for part in projections.modules if part}
    steps = [
        replace(step, module=step.module.removeprefix(prefix)) if step.module else step
        for step in attention.steps(projections)
    ]
    before: list[Step] = []
    behind: list[Step] = []
    reached = False
    for part, shape in shapes.items():  # in the order in which the modules ended
        reached = reached or part in inside
        if not part.startswith(prefix) or part in inside or part == name:
            continue
        own = sum(p.numel() for p in modules[part].parameters(recurse=False))
        if own or type(modules[part]).__name__.startswith("Dropout"):
            step = Step(kind(modules[part]), axes(shape, attention), shape, own or None, part.removeprefix(prefix))
            (behind if reached else before).append(step)
    counted = sum(step.parameters or 0 for step in [*before, *steps, *behind])
    rest = sum(p.numel() for p in modules[layer].parameters()) - counted
    extra = [Step("further parameters", "", (), rest)] if rest else []
    return Layer(layer or name, attention, (*before, *steps, *behind, *extra))


def measure(
    name: str, modules: Mapping[str, "nn.Module"], shapes: Mapping[str, Shape]
) -> tuple[Attention, Projections] | None:
    """The sizes of an attention module in this pass, and its linear maps."""
    from torch import nn

    module = modules[name]
    if isinstance(module, nn.MultiheadAttention):
        return measure_torch(name, module, shapes)
    parts, numbers = dict(module.named_children()), vars(module)
    fused, pair = child(parts, QKV), child(parts, KV)
    own = [fused] * 3 if fused else [child(parts, Q), *([pair] * 2 if pair else [child(parts, K), child(parts, V)])]
    q, k, v = (f"{name}.{part}" for part in own)
    if any(part not in shapes or len(shapes[part]) < 3 for part in (q, k, v)):
        return None
    (*_, length, q_width), (*_, memory, k_width) = shapes[q], shapes[k]
    batch = math.prod(shapes[q][:-2])
    size, heads = number(numbers, HEAD_SIZE), number(numbers, HEADS)
    if fused:
        if size is None and heads is None:
            return None
        size = size or q_width // (3 * (heads or 1))
        kv_heads = number(numbers, KV_HEADS) or q_width // (3 * size)
        heads = q_width // size - 2 * kv_heads
    else:
        size = size or (q_width // heads if heads else q_width)
        heads, kv_heads = q_width // size, (k_width // 2 if pair else k_width) // size
    count = {part: sum(p.numel() for p in modules[part].parameters()) for part in (q, k, v)}
    if fused:
        each = count[q] // (heads + 2 * kv_heads)
        counts = (each * heads, each * kv_heads, each * kv_heads)
    else:
        counts = (count[q], count[k] // (2 if pair else 1), count[v] // (2 if pair else 1))
    output = output_of(name, modules, shapes)
    biased = [
        part is not None and any(n == "bias" for n, _ in modules[part].named_parameters()) for part in (q, k, v, output)
    ]
    weights = dict(modules[q].named_parameters())
    weight = weights.get("weight", next(iter(weights.values())))
    attention = Attention(
        batch, length, None if memory == length else memory, weight.numel() // q_width, heads, kv_heads, size,
        causal=is_causal(numbers), window=window(numbers, length), scale=scale(numbers, size),
    )  # fmt: skip
    total = None if output is None else sum(p.numel() for p in modules[output].parameters())
    return attention, Projections(
        *counts, total, (q, k, v, output or ""), biased=(biased[0], biased[1], biased[2], biased[3])
    )


def measure_torch(name: str, module: Any, shapes: Mapping[str, Shape]) -> tuple[Attention, Projections] | None:
    """The sizes of torch's own module: its maps lie in one parameter, `in_proj_weight`, and are never called."""
    if name not in shapes or len(shapes[name]) != 3:
        return None
    batch, length = shapes[name][:2] if module.batch_first else shapes[name][1::-1]
    hidden, bias = module.embed_dim, module.in_proj_bias is not None
    if module.in_proj_weight is None:
        weights = [p.numel() for p in (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)]
    else:
        weights = [hidden * hidden] * 3
    q, k, v = (weight + hidden * bias for weight in weights)
    output = sum(p.numel() for p in module.out_proj.parameters())
    attention = Attention(batch, length, None, hidden, module.num_heads, module.num_heads, module.head_dim)
    where = name + ".in_proj_weight"
    return attention, Projections(
        q, k, v, output, (where, where, where, f"{name}.out_proj"), biased=(bias, bias, bias, bias)
    )


def output_of(name: str, modules: Mapping[str, "nn.Module"], shapes: Mapping[str, Shape]) -> str | None:
    """The map behind the heads: in the module itself, or beside it, as BERT has it."""
    parent = name.rpartition(".")[0]
    candidates = [f"{place}.{part}".lstrip(".") for place in (name, parent) for part in OUTPUT]
    return next((part for part in candidates if part in modules and part in shapes), None)


def layer_around(name: str, modules: Mapping[str, "nn.Module"], others: Sequence[str]) -> str:
    """The outermost member of a list of modules that has this attention and no other; else the module itself."""
    from torch import nn

    found = name
    for outer in ancestors(name):
        if sum(other == outer or other.startswith(f"{outer}.") for other in others) > 1:
            break
        if isinstance(modules.get(outer.rpartition(".")[0]), nn.ModuleList | nn.Sequential):
            found = outer
    return found


def ancestors(name: str) -> Iterator[str]:
    """The module itself and those around it, without the network."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def kind(module: "nn.Module") -> str:
    """A module's kind in words: that of its class."""
    name = type(module).__name__
    if name == "Linear":
        return "linear map"
    if "LayerNorm" in name:
        return "layer norm"
    if "RMSNorm" in name or name.endswith("RMSNorm"):
        return "RMS norm"
    return "dropout" if name.startswith("Dropout") else name


def axes(shape: Shape, attention: Attention) -> str:
    """The letters of a shape, where it is one of tokens."""
    if shape[:2] != (attention.batch, attention.length) or len(shape) != 3:
        return ""
    return f"(b, t, {'d' if shape[2] == attention.hidden else 'f'})"


def number(values: Mapping[str, Any], names: Sequence[str]) -> int | None:
    """The first of these numbers that a module keeps."""
    return next((int(values[name]) for name in names if isinstance(values.get(name), int) and values[name] > 0), None)


def window(values: Mapping[str, Any], length: int) -> int | None:
    """The tokens that a token sees at most, where that is fewer than all."""
    limit = number(values, ("sliding_window",))
    return limit if limit is not None and limit < length else None


def scale(values: Mapping[str, Any], size: int) -> float | None:
    """The factor of the scores, where the module keeps one that is not 1/√e."""
    factor = next((values[name] for name in SCALE if isinstance(values.get(name), float)), None)
    return None if factor is None or math.isclose(factor, size**-0.5, rel_tol=1e-6) else factor


def is_causal(values: Mapping[str, Any]) -> bool:
    """Whether tokens see only those before them, as the module or its config says."""
    config = values.get("config")
    return values.get("is_causal") is True or (config is not None and config.model_type in CAUSAL_TOWERS)
